"""Measuring a captioner: photographs with what people said of them -> BLEU, ROUGE-L and CIDEr."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caption.data import read_photographs
from caption.text import tokenize
from caption.things import score_things

if TYPE_CHECKING:
    from caption.captioner import Captioner
    from caption.options import DescribeOptions


@dataclass(frozen=True)
class CaptionScores:
    """How captions compare with what people said, all in percent (CIDEr's scale has no upper end).

    Attributes:
        bleu1, bleu2, bleu3, bleu4: shared n-grams (Papineni et al. 2002).
        rouge_l: longest common subsequence (Lin 2004).
        cider: agreement weighed by how telling the words are (Vedantam et al. 2015, arXiv:1411.5726).
    """

    bleu1: float
    bleu2: float
    bleu3: float
    bleu4: float
    rouge_l: float
    cider: float


@dataclass(frozen=True)
class CaptionReport(CaptionScores):
    """Scores of a captioner on a manifest, with how they came about.

    Attributes:
        images: how many photographs.
        seconds: how long reading and describing them took.
        model: the model's name.
        decoding: how captions were searched.
        meteor, spice: in percent, if they were asked for and can be had here; see `score_with_java`.
        things_named: how many of the everyday things that people name are named, in percent, if it was asked
            for; see `caption.things`.
        things: how many kinds of them there are.
    """

    images: int
    seconds: float
    model: str
    decoding: str
    meteor: float | None = None
    spice: float | None = None
    things_named: float | None = None
    things: int | None = None


def score_captions(references: Sequence[Sequence[str]], captions: Sequence[str]) -> CaptionScores:
    """Score one caption a photograph against its references with pycocoevalcap."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    truth, said = _tokenized(references, captions)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its counts
        bleu, _ = Bleu(4).compute_score(truth, said, verbose=0)
        rouge, _ = Rouge().compute_score(truth, said)
        cider, _ = Cider().compute_score(truth, said)
    bleu1, bleu2, bleu3, bleu4 = (100.0 * float(value) for value in bleu)
    return CaptionScores(bleu1, bleu2, bleu3, bleu4, 100.0 * float(rouge), 100.0 * float(cider))


def score_with_java(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[float | None, float | None]:
    """METEOR and SPICE in percent, each None where it cannot be had.

    Both are Java programs inside pycocoevalcap (Denkowski and Lavie 2014; Anderson et al. 2016,
    arXiv:1607.08822). METEOR needs `java`; SPICE also 8 GB of memory and Stanford's parser, which
    pycocoevalcap fetches when its `Spice` is first made: it is used only where that was done.
    """
    if shutil.which("java") is None:
        return None, None
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.spice import spice as spice_module

    truth, said = _tokenized(references, captions)
    meteor, _ = Meteor().compute_score(truth, said)
    spice = None
    if list((Path(spice_module.__file__).parent / "lib").glob("stanford-corenlp-*.jar")):
        spice, _ = spice_module.Spice().compute_score(truth, said)
        spice = 100.0 * float(spice)
    return 100.0 * float(meteor), spice


def _tokenized(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """References and captions as the scorers take them: by number, tokens with spaces between."""
    truth = {
        number: [" ".join(tokenize(one)) for one in several] for number, several in enumerate(references)
    }
    return truth, {number: [" ".join(tokenize(caption))] for number, caption in enumerate(captions)}


def evaluate(
    captioner: Captioner,
    manifest: Path,
    options: DescribeOptions | None = None,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
    java: bool = False,
    things: bool = False,
) -> CaptionReport:
    """Describe every photograph of a manifest (`path`, `caption`) and score the captions.

    Args:
        captioner: what is measured.
        manifest: TSV with a header, one row a reference, paths relative to it.
        options: how to search; None for the defaults.
        batch_size: photographs that the network sees at once.
        progress: called with the number of photographs done since the last call.
        java: also measure METEOR and SPICE where Java is found.
        things: also count which everyday things are named.

    Raises:
        InputError: if the manifest or a photograph cannot be read.
    """
    from caption.options import DescribeOptions

    options = options or DescribeOptions()
    started = time.perf_counter()
    photographs = read_photographs(manifest)
    captions: list[str] = []
    for start in range(0, len(photographs), batch_size):
        batch = photographs[start : start + batch_size]
        described = captioner.describe_batch([photograph.path for photograph in batch], options)
        captions += [caption.text for caption in described]
        if progress is not None:
            progress(len(batch))
    references = [photograph.captions for photograph in photographs]
    scores = score_captions(references, captions)
    meteor, spice = score_with_java(references, captions) if java else (None, None)
    named = score_things(references, captions) if things else None
    return CaptionReport(
        **vars(scores),
        images=len(photographs),
        seconds=time.perf_counter() - started,
        model=captioner.name,
        decoding=str(options),
        meteor=meteor,
        spice=spice,
        things_named=named.named if named else None,
        things=len(named.shares) if named else None,
    )
