"""Measuring a captioner: photographs with what people said of them -> BLEU, ROUGE-L and CIDEr."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caption.data import read_photographs
from caption.measuring.scores import cider, rouge_l
from caption.measuring.things import score_things
from caption.model.text import tokenize
from common.bleu import corpus_bleu
from common.locations import Location

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
        things_named: how many of the everyday things that people name are named, in percent, if it was asked
            for; see `caption.measuring.things`.
        things: how many kinds of them there are.
    """

    images: int
    seconds: float
    model: str
    decoding: str
    things_named: float | None = None
    things: int | None = None


def score_captions(references: Sequence[Sequence[str]], captions: Sequence[str]) -> CaptionScores:
    """Score one caption a photograph against its references, as the COCO caption evaluation does."""
    truth = [[tokenize(one) for one in several] for several in references]
    said = [tokenize(caption) for caption in captions]
    bleu = corpus_bleu(truth, said)
    figures = (*bleu, rouge_l(truth, said), cider(truth, said))
    return CaptionScores(*(100.0 * figure for figure in figures))


def evaluate(
    captioner: Captioner,
    manifest: Location,
    options: DescribeOptions | None = None,
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
    things: bool = False,
) -> CaptionReport:
    """Describe every photograph of a manifest (`path`, `caption`) and score the captions.

    Args:
        captioner: what is measured.
        manifest: TSV with a header, one row a reference, paths relative to it.
        options: how to search; None for the defaults.
        batch_size: photographs that the network sees at once.
        progress: called with the number of photographs done since the last call.
        things: also count which everyday things are named.

    Raises:
        InputError: if the manifest or a photograph cannot be read.
    """
    from caption.options import DescribeOptions

    options = options or DescribeOptions()
    started = time.perf_counter()
    photographs = read_photographs(manifest, urls=True)
    captions: list[str] = []
    for start in range(0, len(photographs), batch_size):
        batch = photographs[start : start + batch_size]
        described = captioner.describe_batch([photograph.path for photograph in batch], options)
        captions += [caption.text for caption in described]
        if progress is not None:
            progress(len(batch))
    references = [photograph.captions for photograph in photographs]
    scores = score_captions(references, captions)
    named = score_things(references, captions) if things else None
    return CaptionReport(
        **vars(scores),
        images=len(photographs),
        seconds=time.perf_counter() - started,
        model=captioner.name,
        decoding=str(options),
        things_named=named.named if named else None,
        things=len(named.shares) if named else None,
    )
