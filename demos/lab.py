"""What the recurrence lab measures: hidden states, gates and gradients, and networks that train in seconds.

Comes in: what somebody chose on the page. Goes out: for each question an answer of `html`, which the page
shows, and `numbers`, which programs read.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from caption import Captioner
from common.core.gates import Trace, readings, trace_gates
from common.core.recurrent import Cell
from common.core.topologies import Aligned
from common.lessons import gates, shapes
from common.lessons.gradients import CLIPPING, Experiment, Reach, clip, run_experiment
from common.lessons.long_lags import diverge_or_converge
from common.lessons.starts import gaussian, keeping_bias
from demos.figures import Floats, chart, figure, liveliest, shades, table, ticks, topology
from speech import Recognizer, load_audio

Figure = dict[str, Any]

GATES = {"lstm": ("input", "forget", "output"), "gru": ("update", "reset")}
DIRECTIONS = ("forward", "backward")

MOST_SECONDS = 30.0  # of a recording
MOST_TOKENS = 60  # of a sequence for the register
_NOISE = 1  # seed of what the register should pass over

_UNITS = (
    "The 64 units that change most, each a row, in the order of the step at which it is farthest from 0: "
    "blue below 0, orange above."
)


@dataclass(frozen=True)
class Layer:
    """A layer that has read something.

    Attributes:
        name: which.
        cell: its recurrence.
        traces: of each direction the gates, (1, steps, hidden) each.
    """

    name: str
    cell: str
    traces: list[Trace]


def layers_of(network: nn.Module, found: dict[str, Any]) -> list[Layer]:
    """What each recurrent layer of a network did when it read what `readings` found."""
    layers = []
    for name, reading in found.items():
        stack: Any = network.get_submodule(name)
        state = None if reading.state is None else tuple(part[:, :1].float() for part in reading.state)
        for number, traces in enumerate(trace_gates(stack, reading.x[:1].float(), state), start=1):
            layers.append(Layer(f"{name.split('.')[0]}, layer {number}", stack.config.cell, traces))
    return layers


def layer_names(recognizer: Recognizer) -> list[str]:
    """The recogniser's recurrent layers, from the sound to the text."""
    config = recognizer.acoustic.network.config
    several = {"lower": config.lower_layers, "upper": config.upper_layers}
    return [f"{stack}, layer {number + 1}" for stack, count in several.items() for number in range(count)]


@torch.no_grad()
def states_of_recording(recognizer: Recognizer, path: str, layer: str, direction: str) -> Figure:
    """Hidden vectors of each layer while the recogniser hears a recording, and the gates of one of them."""
    transcript = recognizer.transcribe(path)
    samples = load_audio(path)
    acoustic = recognizer.acoustic
    with readings(acoustic.network) as found:
        acoustic.log_probs([acoustic.log_mel(samples)])
    layers = layers_of(acoustic.network, found)
    seconds = len(samples) / 16_000
    words = [word.text for word in transcript.words]
    marks = ticks(words, [(word.start - transcript.offset) / seconds for word in transcript.words])
    parts = [
        figure(
            f"Hidden vectors: {one.name}",
            shades(
                liveliest(np.concatenate([_units(trace["hidden"]) for trace in one.traces])),
                f"hidden vectors of {one.name} over {seconds:.1f} seconds",
                signed=True,
            )
            + marks,
            _UNITS if number == 0 else "",
        )
        for number, one in enumerate(layers)
    ]
    (chosen,) = (one for one in layers if one.name == layer)
    trace = chosen.traces[DIRECTIONS.index(direction)]
    shown, numbers = _gates(chosen, trace, f"seconds, {direction}", seconds, marks)
    html = f"<p>It hears: {escape(' '.join(words)) or '(no words)'}</p>{shown}{''.join(parts)}"
    return {"html": html, "numbers": {"seconds": seconds, "words": words, "gates": numbers}}


@torch.no_grad()
def states_of_photograph(captioner: Captioner, path: str) -> Figure:
    """Hidden vector and gates of the captioner's GRU while it says what is on a photograph."""
    text = captioner.describe(path).text
    if not text:
        return {"html": "<p>There is nothing to see on it.</p>", "numbers": {"words": [], "gates": {}}}
    with readings(captioner.network) as found:
        words = [glance.word for glance in captioner.glances(path, text)]
    (layer,) = layers_of(captioner.network, found)
    marks = ticks(words, [number / len(words) for number in range(len(words))])
    shown, numbers = _gates(layer, layer.traces[0], "words", len(words) - 1, marks)
    hidden = shades(liveliest(_units(layer.traces[0]["hidden"])), "hidden vector over the words", signed=True)
    html = f"<p>It says: {escape(text)}</p>{shown}{figure('Hidden vector', hidden + marks, _UNITS)}"
    return {"html": html, "numbers": {"words": words, "gates": numbers}}


def _gates(
    layer: Layer, trace: Trace, across: str, last: float, marks: str
) -> tuple[str, dict[str, list[float]]]:
    """The mean of each gate over the units, and the gate that keeps, unit by unit."""
    names = GATES[layer.cell]
    means = {name: [round(value, 4) for value in trace[name][0].mean(dim=-1).tolist()] for name in names}
    lines = chart({f"{name} gate": means[name] for name in names}, across, 0.0, 1.0, last=last)
    keeping = "forget" if layer.cell == "lstm" else "update"
    picture = shades(
        liveliest(_units(trace[keeping])), f"{keeping} gate of 64 units over {across}", signed=False
    )
    note = "The mean over all units: at 1 a gate is open, at 0 closed."
    below = "The 64 units whose gate changes most: dark is open and keeps what was, light is closed."
    shown = figure(f"Gates: {layer.name}", lines, note) + figure(
        f"The {keeping} gate, unit by unit", picture + marks, below
    )
    return shown, means


def _units(values: Tensor) -> Floats:
    """(1, steps, hidden) -> (hidden, steps)."""
    return values[0].T.float().numpy()


# --- the register ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """One step of a sequence for the register: write a number, erase, or keep."""

    sign: str
    number: float | None = None


def read_commands(text: str) -> list[Command]:
    """`0.8 . . e .` -> what is to be done at each step.

    Raises:
        ValueError: with a sentence that says what is wrong and what is right.
    """
    tokens = text.split()
    if not 1 <= len(tokens) <= MOST_TOKENS:
        raise ValueError(
            f"Write from 1 to {MOST_TOKENS} steps with spaces between them, for example: 0.8 . . e ."
        )
    commands = []
    for token in tokens:
        if token in (".", "e"):
            commands.append(Command(token))
            continue
        try:
            number = float(token)
        except ValueError:
            number = float("nan")
        if not -1.0 <= number <= 1.0:
            raise ValueError(f"“{token}” is no step: write a number from -1 to 1, e to erase, or . to keep.")
        commands.append(Command(f"{number:g}", number))
    return commands


class Registers:
    """An LSTM and a GRU that learned to be a register; they learn when they are first asked."""

    def __init__(self, updates: int = 600) -> None:
        self.updates = updates
        self._learned: dict[Cell, tuple[Aligned, int]] = {}
        self._lock = threading.Lock()

    def learned(self) -> dict[Cell, tuple[Aligned, int]]:
        """Each network, and the unit that holds the number."""
        with self._lock:
            if not self._learned:
                generator = torch.Generator().manual_seed(1)
                judged = gates.draw_register(200, 20, generator)
                for cell in gates.GATES:
                    with torch.random.fork_rng(devices=[]):
                        torch.manual_seed(1)
                        network = gates.train(cell, self.updates, generator)
                    with torch.no_grad():
                        trace = trace_gates(network.stack, judged.x)[0][0]
                    self._learned[cell] = network, gates.remembering_unit(trace, judged.held)
        return self._learned

    def follow(self, commands: Sequence[Command]) -> Figure:
        """What both say at each step, and what their gates do."""
        networks = self.learned()
        generator = torch.Generator().manual_seed(_NOISE)
        noise = (2.0 * torch.rand(len(commands), generator=generator) - 1.0).tolist()
        rows, held, now = [], [], 0.0
        for command, other in zip(commands, noise, strict=True):
            write, erase = command.number is not None, command.sign == "e"
            number = other if command.number is None else command.number
            now = command.number if command.number is not None else 0.0 if erase else now
            rows.append([float(write), float(erase), number])
            held.append(now)
        x = torch.tensor([rows])  # (1, steps, 3)
        lines = {"what it should hold": held}
        numbers: dict[str, Any] = {"held": held}
        pictures = []
        marks = ticks(
            [command.sign for command in commands],
            [number / len(commands) for number in range(len(commands))],
            indent=True,
        )
        for cell, (network, unit) in networks.items():
            with torch.no_grad():
                said = network(x)[0][0, :, 0].tolist()
                trace = trace_gates(network.stack, x)[0][0]
            names = gates.GATES[cell]
            values = torch.stack([trace[name][0, :, unit] for name in names])
            lines[f"what the {cell.upper()} says"] = said
            numbers[cell] = {"said": said, **dict(zip(names, values.tolist(), strict=True))}
            picture = shades(values.numpy(), f"gates of the {cell.upper()} over the steps", False, names)
            note = f"Unit {unit}, which holds the number: dark is open, light is closed."
            pictures.append(figure(f"{cell.upper()}: its gates", picture + marks, note))
        top = figure("The register", chart(lines, "steps", -1.0, 1.0))
        return {"html": top + "".join(pictures), "numbers": numbers}


# --- gradients ---------------------------------------------------------------------------------------


def gradients(steps: int, radius: float, keeping: float, norm: float) -> Figure:
    """How far back the gradient of each cell reaches, and what clipping makes of it."""
    experiments = {
        "tanh": Experiment("tanh", "rnn_tanh", gaussian(radius)),
        "ReLU": Experiment("ReLU", "rnn_relu", gaussian(radius)),
        "LSTM": Experiment("LSTM", "lstm", keeping_bias(keeping)),
        "GRU": Experiment("GRU", "gru", keeping_bias(keeping)),
    }
    reaches: dict[str, Reach] = {}
    rows = []
    for name, experiment in experiments.items():
        reach, _ = run_experiment(experiment, steps)
        before, after = clip(experiment, steps, norm=norm)
        reaches[name] = reach
        oldest = float(reach.profile[-1])
        row = [name, f"{reach.factor:.3f}", f"{reach.half_life:.3g}", f"{oldest:.0e}", reach.verdict]
        rows.append([*row, f"{before:.2g}", f"{after:.2g}"])
    heads = ["Cell", "A step back", "Half-life", f"{steps - 1} back", "Verdict", "Norm", "Clipped"]
    lines = {name: reach.profile.tolist() for name, reach in reaches.items()}
    drawn = chart(lines, "steps back", 1e-12, 1e6, powers=True)
    note = (
        "How strongly the last output feels each input, as a share of the last one. "
        "Norm: of the gradient by all weights, before and after clipping."
    )
    numbers = {
        name: {"factor": reach.factor, "verdict": reach.verdict, "profile": reach.profile.tolist()}
        for name, reach in reaches.items()
    }
    html = figure("The gradient, back through time", drawn, note) + figure("In figures", table(heads, rows))
    return {"html": html, "numbers": numbers}


def clipping(norm: float) -> Figure:
    """One training run whose gradients explode, without and with clipping."""
    runs = {
        "without clipping": diverge_or_converge(CLIPPING["without clipping"], 1),
        f"clipped to norm {norm:g}": diverge_or_converge(norm, 1),
    }
    note = "A ReLU network with a spectral radius of 2 learns a running mean; both runs begin alike."
    html = figure("Loss in training", chart(runs, "updates", 1e-4, 1e8, powers=True), note)
    return {"html": html, "numbers": {name: _finite(losses) for name, losses in runs.items()}}


def _finite(losses: Sequence[float]) -> list[float | None]:
    """JSON knows neither infinity nor what is no number."""
    return [value if np.isfinite(value) else None for value in losses]


# --- the four shapes ---------------------------------------------------------------------------------

_PICTURES = {
    "aligned": ((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), "at each step something is read and something said"),
    "to a vector": ((1, 1, 1, 1, 1), (0, 0, 0, 0, 1), "all is read, then one thing is said"),
    "from a vector": ((1, 0, 0, 0, 0), (1, 1, 1, 1, 1), "one thing is read, then a sequence is said"),
    "encoder-decoder": ((1, 1, 1, 0, 0, 0), (0, 0, 0, 1, 1, 1), "one sequence is read, then another said"),
}


def train_shape(name: str, updates: int) -> Figure:
    """Train a small network of one of the four shapes, and ask it what it never learned."""
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        shape, losses = shapes.train(name, updates, generator)
    answers = shape.answers(200, generator)
    share = shapes.share_right(answers)
    rows = [[one.read, one.said, "✓" if one.said == one.right else one.right] for one in answers[:8]]
    reads, says, told = _PICTURES[name]
    drawn = topology([*map(bool, reads)], [*map(bool, says)], f"{name}: {told}")
    html = "".join(
        [
            figure(name.capitalize(), drawn, f"{told.capitalize()}. {shape.problem}"),
            f"<p><strong>{share:.1%}</strong> of 200 answers to what it never learned are right.</p>",
            figure("Some of them", table(["Read", "Said", "Right"], rows)),
            figure("Loss in training", chart({"loss": losses}, "updates", 1e-3, 10.0, powers=True)),
        ]
    )
    numbers = {"right": share, "losses": losses, "answers": [one._asdict() for one in answers[:8]]}
    return {"html": html, "numbers": numbers}
