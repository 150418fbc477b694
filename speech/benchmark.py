"""What recognising costs, beside others, in one run on the same recordings.

`python -m speech.benchmark` times the recogniser from samples to text, its peers (`speech/peers.py`), and the
bound that this machine's own matrix multiplication sets; what each stage costs of a recording in a file; and
a cold start of the command beside a bare `import torch, torchaudio`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.benchmark import Row, multiplication_speed, table, timings
from common.commands.command import at_least, run_command
from common.errors import InputError
from common.manifest import read_manifest
from speech.model.network import SpeechNetwork
from speech.options import DecodingOptions
from speech.peers import PEERS, peers
from speech.recognizer import Recognizer
from speech.sound.audio import SAMPLE_RATE, load_audio
from speech.stages import STAGES, encode, stage_costs

# What recordings are stored in, with the encoder and the sample rate.
STORED = {"opus": ("libopus", 48_000), "mp3": ("libmp3lame", 44_100)}

_BOUND = "the bound: the network's products alone"

SAMPLES = Path(__file__).parent / "samples"


@dataclass(frozen=True)
class Cost:
    """What one way of recognising took.

    Attributes:
        name: who did it.
        seconds: for all recordings.
        audio_seconds: how long the recordings last.
        operations: multiplications and additions that it took; None where nobody has counted them.
    """

    name: str
    seconds: float
    audio_seconds: float
    operations: float | None = None

    @property
    def real_time_factor(self) -> float:
        """Seconds of work a second of sound."""
        return self.seconds / self.audio_seconds


def compare(
    recognizer: Recognizer,
    recordings: Sequence[Tensor],
    options: DecodingOptions,
    batch_size: int,
    repeats: int,
    threads: int = 1,
    beside: Collection[str] = PEERS,
) -> list[Cost]:
    """Time the recogniser and its peers on the same recordings; the recogniser first.

    Args:
        recognizer: whose network sets the bound, too.
        recordings: (samples,) each, 16 kHz mono.
        options: how the recogniser finds text.
        batch_size: recordings that it reads at once; peers read them one by one.
        repeats: of which the fastest counts: the machine has other things to do.
        threads: of PyTorch, as they are set; the recogniser uses as many processes of one thread instead.
        beside: the peers, of `PEERS`; those that are not installed are left out.
    """
    ordered = sorted(recordings, key=len)
    audio_seconds = sum(map(len, ordered)) / SAMPLE_RATE
    batches = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]

    def recognised(name: str, options: DecodingOptions) -> Cost:
        with _one_thread(), recognizer.helpers(threads - 1, options) as helpers:
            helpers.start()  # a night's work starts them once

            def recognise() -> None:
                for _ in recognizer.transcribe_all(ordered, options, batch_size, helpers=helpers):
                    pass

            return cost(name, recognise)

    def alone(options: DecodingOptions) -> None:
        for samples in recordings:
            recognizer.transcribe(samples, options)

    def cost(name: str, work: Callable[[], None], operations: float | None = None) -> Cost:
        return Cost(name, _fastest(work, repeats), audio_seconds, operations)

    operations = operations_per_second(recognizer.acoustic.network) * audio_seconds

    costs = [recognised(f"speech, {options}", options)]
    greedy = DecodingOptions(beam=1)
    if options != greedy:
        costs.append(recognised(f"speech, {greedy}", greedy))
    costs.append(cost(f"speech, {options}, one by one", lambda: alone(options)))
    costs.append(cost("speech, the network alone", lambda: _run_network(recognizer, batches), operations))
    costs += [cost(name, work) for name, work in peers(ordered, threads, beside).items()]
    bound = operations / multiplication_speed(recognizer.acoustic.dtype, repeats)
    return [*costs, Cost(_BOUND, bound, audio_seconds, operations)]


def operations_per_second(network: SpeechNetwork) -> float:
    """Multiplications and additions that the network's matrices take for a second of sound."""
    products = sum(
        parameter.numel() * (1 if name.startswith("upper.") else network.config.join)
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1
    )
    return 2.0 * products / network.config.step_seconds


def print_stages(recognizer: Recognizer, samples: Tensor, repeats: int) -> None:
    """Print what each stage of a recording in a file costs; the fastest of several runs counts.

    Args:
        recognizer: that is measured, on as many threads as PyTorch has.
        samples: (samples,) of the recording.
        repeats: runs for each kind of file.
    """
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix, (codec, rate) in STORED.items():
            path = Path(folder) / f"recording.{suffix}"
            encode(path, samples, codec, rate)
            runs = [stage_costs(recognizer, path, DecodingOptions())[0] for _ in range(repeats)]
            columns[suffix] = min(runs, key=lambda run: sum(run.values()))
    print(f"\nstage, seconds of the processor{'':8}" + "".join(f"{suffix:>8}" for suffix in columns))
    for stage in STAGES:
        print(f"  {stage:37}" + "".join(f"{column[stage]:8.2f}" for column in columns.values()))
    print(f"  {'all':37}" + "".join(f"{sum(column.values()):8.2f}" for column in columns.values()))


def cold_start(recording: Path, model: str, repeats: int) -> tuple[float, float]:
    """Seconds from nothing to a transcript of one recording, and those of importing PyTorch alone."""

    def run(*arguments: str) -> Callable[[], None]:
        def work() -> None:
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

        return work

    ours = run(
        "-c", "import sys; from speech.cli import main; sys.exit(main())", "transcribe", str(recording)
    )
    return _fastest(ours, repeats), _fastest(run("-c", "import torch, torchaudio"), repeats)


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch has one thread, for a while."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def _fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs."""
    return min(timings(work, repeats))


@torch.inference_mode()
def _run_network(recognizer: Recognizer, batches: Sequence[Sequence[Tensor]]) -> None:
    """The acoustic model and its features, without a search."""
    for batch in batches:
        recognizer.acoustic.log_probs([recognizer.acoustic.log_mel(samples) for samples in batch])


def joined(recordings: Sequence[Tensor], seconds: float) -> Tensor:
    """One recording of so many seconds: some end to end, again from the first if they are too few.

    Args:
        recordings: (samples,) each.
        seconds: of the whole.
    """
    wanted = round(seconds * SAMPLE_RATE)
    whole = torch.cat(list(recordings))
    return whole.repeat(-(-wanted // len(whole)))[:wanted]


def main() -> int:
    """Print a table for each number of threads, and the cold start."""
    parser = argparse.ArgumentParser(prog="python -m speech.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model", default="english", help="a bundled model or a model directory (%(default)s)"
    )
    parser.add_argument("--manifest", type=Path, help="recordings to time (the samples that ship)")
    parser.add_argument("--limit", type=at_least(1), default=40, help="of the manifest (%(default)s)")
    parser.add_argument(
        "--joined", type=at_least(1), metavar="SECONDS", help="one recording of this length instead"
    )
    parser.add_argument("--threads", type=at_least(1), nargs="+", default=[1, 2], metavar="N", help="(1 2)")
    parser.add_argument("--repeats", type=at_least(1), default=3, metavar="N", help="(%(default)s)")
    parser.add_argument("--batch-size", type=at_least(1), default=32, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=PEERS, metavar="NAME", help=f"({' '.join(PEERS)})"
    )
    arguments = parser.parse_args()
    if arguments.manifest is None:
        paths = sorted(SAMPLES.glob("*.opus"))
    else:
        rows = read_manifest(arguments.manifest, ["path"])[: arguments.limit]
        paths = [Path(row["path"]) for row in rows]
    if not paths:
        raise InputError(SAMPLES, "no sample ships with this installation; name a --manifest")
    recordings = [load_audio(path) for path in paths]
    if arguments.joined:
        recordings = [joined(recordings, arguments.joined)]
    print(f"{len(recordings)} recordings, {sum(map(len, recordings)) / SAMPLE_RATE:.0f} s")
    for threads in arguments.threads:
        recognizer = Recognizer.load(arguments.model, threads=threads)
        batch_size, repeats = arguments.batch_size, arguments.repeats
        costs = compare(
            recognizer, recordings, DecodingOptions(), batch_size, repeats, threads, arguments.peers
        )
        lines = [Row(one.name, one.seconds, f"{one.real_time_factor:.4f}", one.operations) for one in costs]
        ceiling = (costs[-1].operations or 0.0) / costs[-1].seconds  # of the bound
        print(f"\n{table(f'{threads} threads', 'real-time factor', lines, ceiling)}")
    print_stages(Recognizer.load(arguments.model, threads=1), torch.cat(recordings), arguments.repeats)
    ours, bare = cold_start(paths[0], arguments.model, arguments.repeats)
    print(f"\ncold start: a transcript in {ours:.2f} s, import torch, torchaudio in {bare:.2f} s", end="")
    print(f", ratio {ours / bare:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmark", main))
