"""What captioning costs, beside others, in one run on the same photographs.

`python -m caption.benchmark` times the captioner from files to captions, its encoder's forward pass alone,
a ResNet-101 with an LSTM of 512 and beam 5 from the same files, and the forward pass of BLIP-base's image
encoder (a ViT-B/16 over 384 x 384; Li et al. 2022, arXiv:2201.12086). The peers have random weights: their
cost does not depend on them, but for the length of the captions, which is set to ours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from caption.captioner import Captioner
from caption.images import load_image
from caption.options import LOADERS, DescribeOptions
from common.benchmark import Row, multiplication_speed, table, timings
from common.commands.batch import in_batches
from common.commands.command import at_least, keep_memory, run_command
from common.commands.inputs import Input
from common.commands.outputs import Job
from common.core.recurrent import RecurrentConfig
from common.core.search import BeamOptions, beam_search
from common.core.topologies import FromVector
from common.errors import InputError
from common.manifest import read_manifest

SAMPLES = Path(__file__).parent / "samples"

PEER_WORDS = 10_000
PEER_BEAM = 5


@dataclass(frozen=True)
class Cost:
    """What one way of captioning took.

    Attributes:
        name: who did it.
        seconds: a photograph.
        operations: multiplications and additions a photograph; None where nobody has counted them.
    """

    name: str
    seconds: float
    operations: float | None = None


def compare(
    captioner: Captioner, paths: Sequence[str], options: DescribeOptions, batch_size: int, repeats: int
) -> list[Cost]:
    """Time the captioner and its peers on the same photographs; the captioner first.

    Args:
        captioner: whose encoder is timed alone, too.
        paths: of the photographs.
        options: how the captioner searches.
        batch_size: photographs that it and its encoder look at together; the peers see one at a time.
        repeats: of which the fastest counts: the machine has other things to do.
    """
    pictures = torch.stack([load_image(path) for path in paths])
    said = captioner.describe_batch(list(pictures), options)
    words = round(sum(len(caption.text.split()) for caption in said) / len(said))

    def encode() -> None:
        with torch.inference_mode():
            for batch in pictures.split(batch_size):
                captioner.network.look(batch.to(captioner.device))

    def cost(name: str, work: Callable[[], object], is_counted: bool = False) -> Cost:
        count = operations(work) / len(paths) if is_counted else None
        return Cost(name, min(timings(work, repeats)) / len(paths), count)

    return [
        cost(
            f"caption, from files, beam {options.beam}",
            lambda: describe_files(captioner, paths, options, batch_size),
        ),
        cost("caption, its encoder alone", encode, is_counted=True),
        cost("ResNet-101, LSTM 512, beam 5, from files", resnet_lstm(paths, words)),
        cost("BLIP-base, its image encoder alone", vision_transformer(pictures)),
    ]


def operations(work: Callable[[], object]) -> float:
    """Multiplications and additions of the convolutions and matrices in some work, as PyTorch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def describe_files(
    captioner: Captioner, paths: Sequence[str], options: DescribeOptions, batch_size: int
) -> list[str]:
    """What the command does: threads read while the network answers."""
    jobs = [Job(Input(path, path)) for path in paths]
    process = in_batches(
        load_image,
        lambda batch: captioner.describe_batch(batch, options),
        batch_size,
        LOADERS,
    )
    return [outcome.result.text for outcome in process(jobs) if not isinstance(outcome.result, InputError)]


def resnet_lstm(paths: Sequence[str], words: int) -> Callable[[], None]:
    """From files, one by one, through ResNet-101 to an LSTM's captions of so many words, beam 5."""
    from torchvision.models import resnet101

    encoder = resnet101().eval()
    features = encoder.fc.in_features
    encoder.fc = nn.Identity()
    config = RecurrentConfig(input_size=512, hidden_size=512, cell="lstm")
    decoder = FromVector(config, features, PEER_WORDS).eval()
    beam = BeamOptions(width=PEER_BEAM, most_steps=words + 1)

    def step(symbols: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        log_probs, state = decoder.step(symbols, state)
        log_probs[:, 0] = float("-inf")  # the end: untrained weights would say it at any time
        return log_probs, state

    @torch.inference_mode()
    def work() -> None:
        for path in paths:
            picture = load_image(path).unsqueeze(0).float() / 255.0
            state = decoder.begin(encoder(picture))
            beam_search(step, decoder.reorder, state, 1, 1, 0, beam)

    return work


def vision_transformer(pictures: Tensor) -> Callable[[], None]:
    """BLIP-base's image encoder: a ViT-B/16 over 384 x 384, one picture at a time."""
    from torchvision.models import vit_b_16

    model = vit_b_16(image_size=384).eval()
    large = nn.functional.interpolate(pictures.float() / 255.0, size=(384, 384))

    @torch.inference_mode()
    def work() -> None:
        for picture in large:
            model(picture.unsqueeze(0))

    return work


def main() -> int:
    """Print a table for each number of threads."""
    parser = argparse.ArgumentParser(prog="python -m caption.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model", default="photos", help="a bundled model or a model directory (%(default)s)"
    )
    parser.add_argument("--manifest", type=Path, help="photographs to time (the samples that ship)")
    parser.add_argument("--limit", type=at_least(1), default=64, help="of the manifest (%(default)s)")
    parser.add_argument("--threads", type=at_least(1), nargs="+", default=[1, 2], metavar="N", help="(1 2)")
    parser.add_argument("--repeats", type=at_least(1), default=3, metavar="N", help="(%(default)s)")
    parser.add_argument("--batch-size", type=at_least(1), default=32, metavar="N", help="(%(default)s)")
    arguments = parser.parse_args()
    keep_memory()
    if arguments.manifest is None:
        paths = sorted(map(str, SAMPLES.glob("*.jpg")))
    else:
        rows = read_manifest(arguments.manifest, ["path"])
        paths = list(dict.fromkeys(row["path"] for row in rows))[: arguments.limit]
    if not paths:
        raise InputError(SAMPLES, "no sample ships with this installation; name a --manifest")
    print(f"{len(paths)} photographs")
    for threads in arguments.threads:
        captioner = Captioner.load(arguments.model, threads=threads)
        costs = compare(captioner, paths, DescribeOptions(), arguments.batch_size, arguments.repeats)
        lines = [Row(one.name, one.seconds, f"{1000 * one.seconds:.1f}", one.operations) for one in costs]
        ceiling = multiplication_speed(repeats=arguments.repeats)
        print(f"\n{table(f'{threads} threads, a photograph', 'milliseconds', lines, ceiling)}")
        print(f"  the ceiling, 1024 x 1024 products: {ceiling / 1e9:.1f} GFLOP/s")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmark", main))
