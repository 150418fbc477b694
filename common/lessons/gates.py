"""Gates that can be read: an LSTM and a GRU learn to be a register, and show how they do it.

`python -m common.lessons.gates`. At some steps a number is to be written down, at some the register is to be
erased, at all others the input is noise and the number is to be kept. The output at each step is what the
register holds. `common.core.gates` computes what each gate did; here it is averaged by what was to be done:

    write  the input gate opens, the forget gate lets go of what was
    erase  the forget gate closes, nothing comes in
    keep   the forget gate stays open, the input gate closed
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from common.commands.command import at_least, run_command
from common.core.gates import Trace, trace_gates
from common.core.recurrent import Cell, RecurrentConfig
from common.core.topologies import Aligned
from common.lessons.drawing import Chart, Line, Shades, write_png
from common.lessons.learning import learn, make_parser, set_up

COMMANDS = ("write", "erase", "keep")
GATES: dict[Cell, tuple[str, ...]] = {"lstm": ("input", "forget", "output"), "gru": ("update", "reset")}
_HIDDEN = 6
_SHARE = 0.15  # of the steps that write; as many erase


@dataclass(frozen=True)
class Register:
    """Sequences of the task.

    Attributes:
        x: (batch, steps, 3): 1 where to write, 1 where to erase, and a number from -1 to 1 at every step.
        held: (batch, steps), what the register holds after each step.
        commands: (batch, steps), places in `COMMANDS`.
    """

    x: Tensor
    held: Tensor
    commands: Tensor


def draw_register(batch: int, steps: int, generator: torch.Generator) -> Register:
    """Random sequences of the task."""
    chance = torch.rand(batch, steps, generator=generator)
    write, erase = chance < _SHARE, chance > 1.0 - _SHARE
    numbers = 2.0 * torch.rand(batch, steps, generator=generator) - 1.0
    x = torch.stack([write.float(), erase.float(), numbers], dim=-1)
    now = torch.zeros(batch)
    held = []
    for step in range(steps):
        now = torch.where(write[:, step], numbers[:, step], now).masked_fill(erase[:, step], 0.0)
        held.append(now)
    commands = torch.full((batch, steps), 2).masked_fill(erase, 1).masked_fill(write, 0)
    return Register(x, torch.stack(held, dim=1), commands)


def train(cell: Cell, updates: int, generator: torch.Generator) -> Aligned:
    """A network of six units that learned the task."""
    network = Aligned(RecurrentConfig(3, _HIDDEN, cell), outputs=1)

    def loss() -> Tensor:
        drawn = draw_register(64, 20, generator)
        return F.mse_loss(network(drawn.x, return_state=False)[0].squeeze(-1), drawn.held)

    learn(network, loss, updates, rate=0.03, name=cell)
    return network


def remembering_unit(trace: Trace, held: Tensor) -> int:
    """The unit whose memory follows most closely, up or down, what the register holds (batch, steps)."""
    memory = trace.get("memory", trace["hidden"]).flatten(0, 1)
    correlations = torch.corrcoef(torch.cat([held.reshape(1, -1), memory.T]))[0, 1:]
    return int(correlations.abs().nan_to_num().argmax())


def mean_by_command(gate: Tensor, commands: Tensor) -> list[float]:
    """A gate's mean (batch, steps) over the steps of each command."""
    return [float(gate[commands == command].mean()) for command in range(len(COMMANDS))]


def main() -> int:
    """Train both, print what their gates do, and draw one sequence."""
    parser = make_parser("gates", "An LSTM and a GRU learn to keep a number, and show how their gates do it.")
    parser.add_argument("--updates", type=at_least(1), default=600, metavar="N", help="(%(default)s)")
    arguments = parser.parse_args()
    generator = set_up(arguments)
    judged, shown = draw_register(200, 20, generator), draw_register(1, 24, generator)
    signs = [("w", "e", "")[command] for command in shown.commands[0].tolist()]
    panels: list[Chart | Shades] = []
    lines = [Line("what it should hold", shown.held[0].tolist())]
    print(f"{'':<24}{'':>8}" + "".join(f"{command:>8}" for command in COMMANDS))
    for cell, names in GATES.items():
        network = train(cell, arguments.updates, generator)
        with torch.no_grad():
            error = F.mse_loss(network(judged.x)[0].squeeze(-1), judged.held)
            trace = trace_gates(network.stack, judged.x)[0][0]
            one = trace_gates(network.stack, shown.x)[0][0]
            lines.append(Line(f"what the {cell} says", network(shown.x)[0][0, :, 0].tolist()))
        unit = remembering_unit(trace, judged.held)
        for name in names:
            means = mean_by_command(trace[name][..., unit], judged.commands)
            print(f"{f'{cell}, unit {unit}':<24}{name:>8}" + "".join(f"{mean:>8.2f}" for mean in means))
        share = float(error / judged.held.var())
        print(f"{'':<24}{'':>8}  error: {share:.1%} of the variance\n")
        values = [one[name][0, :, unit].tolist() for name in names]
        panels.append(Shades(f"{cell}: gates of unit {unit}; w writes, e erases", names, signs, values))
    if arguments.output is not None:
        write_png(arguments.output, [Chart("The register", lines, "steps", -1.0, 1.0), *panels])
    return 0


if __name__ == "__main__":
    sys.exit(run_command("gates", main))
