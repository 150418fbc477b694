"""Words with places: a path through the steps -> words, each with start, end and confidence.

Comes in: log-probabilities (steps, symbols) and a text that is known, or a path that a search took. Goes out:
words in the order in which they were said. Where exactly a word begins and ends says `timing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speech.model.subwords import BLANK, Subwords
from speech.placing.timing import LETTER_SECONDS, Quiet, place, spoken_span

# A table of so many steps and states is torchaudio's: the fastest for a segment, but of ten minutes it takes
# longer than `windowed_path`, and 16 times its memory.
_LARGEST_TABLE = 1_000_000

# States that `windowed_path` follows at once, two a subword: some 1400 words, 9 minutes of speech. A text
# that is no longer is aligned exactly; of a longer one, what is farther from the best place so far is given
# up. Where each state came from takes two bits: 46 MB for an hour of speech.
MOST_STATES = 4096

# In place of log-probabilities below it: a path that must go through an impossible symbol is still a path.
_LEAST_LOG_PROB = -1e4


@dataclass(frozen=True)
class Word:
    """A word that was heard.

    Attributes:
        text: the word.
        start, end: seconds from the beginning of the recording; words never overlap.
        confidence: mean probability of the word's symbols, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Emissions:
    """What the network answers to one segment of a recording.

    Attributes:
        start_seconds: where the segment starts.
        seconds: of the segment.
        log_probs: (steps, symbols), on the CPU.
        quiet: where in it there is hardly any sound.
        phone_log_probs: (lower steps, phones), what the lower stack heard; none where nobody asks.
    """

    start_seconds: float
    seconds: float
    log_probs: Tensor
    quiet: Quiet = field(default_factory=Quiet)
    phone_log_probs: Tensor | None = None


def steps_needed(symbols: Sequence[int]) -> int:
    """The least steps that a text takes: one a symbol, and a blank between two that are the same."""
    return len(symbols) + sum(one == other for one, other in pairwise(symbols))


def forced_path(log_probs: Tensor, symbols: Sequence[int]) -> list[int]:
    """The most probable path of a known text: a symbol for every step.

    Args:
        log_probs: (steps, symbols), on the CPU.
        symbols: of the text, no blanks.

    Raises:
        ValueError: if the text takes more steps than there are.
    """
    steps = len(log_probs)
    if steps_needed(symbols) > steps:
        raise ValueError(f"the text takes {steps_needed(symbols)} steps, there are {steps}")
    if not symbols:
        return [BLANK] * steps
    if steps * (2 * len(symbols) + 1) > _LARGEST_TABLE:
        return windowed_path(log_probs, symbols)
    from torchaudio.functional import forced_align

    path, _ = forced_align(log_probs[None].contiguous(), torch.tensor([list(symbols)]), blank=BLANK)
    return [int(symbol) for symbol in path[0]]


def windowed_path(log_probs: Tensor, symbols: Sequence[int], window: int = MOST_STATES) -> list[int]:
    """As `forced_path`, in the memory of a window that goes along with the best path so far.

    Viterbi's search through CTC's states, blank and symbol in turn (Graves et al. 2006,
    doi:10.1145/1143844.1143891).

    Args:
        log_probs: (steps, symbols), on the CPU.
        symbols: of the text, no blanks; at least one, and no more than fit.
        window: states that are followed at once, at least 8.
    """
    emissions = np.maximum(log_probs.numpy().astype(np.float32, copy=False), _LEAST_LOG_PROB)
    steps = len(emissions)
    states, may_skip, needed = _states(symbols)
    width = min(window, len(states))
    # The states below these cannot come to the end of the text any more.
    lowest = np.searchsorted(-needed, np.arange(steps) - (steps - 1))
    low = 0
    lows = np.zeros(steps, np.int64)
    stepped, skipped = np.zeros((2, steps, (width + 7) // 8), np.uint8)
    padded = np.full(width + 2, -np.inf, np.float32)  # two states before the window, which stay impossible
    scores = padded[2:]
    scores[:2] = emissions[0, states[:2]]
    scores[: lowest[0]] = -np.inf
    for step in range(1, steps):
        best = low + int(scores.argmax())
        scores -= scores[best - low]  # large sums would lose what small differences say
        shift = min(max(best - width // 2, low), len(states) - width) - low
        if shift:
            scores[: width - shift] = scores[shift:].copy()
            scores[width - shift :] = -np.inf
            low += shift
        lows[step] = low
        inside = slice(low, low + width)
        by_one = padded[1:-1] > scores
        either = np.maximum(scores, padded[1:-1])
        by_two = may_skip[inside] & (padded[:-2] > either)
        stepped[step], skipped[step] = np.packbits(by_one), np.packbits(by_two)
        scores[:] = np.where(by_two, padded[:-2], either) + emissions[step].take(states[inside])
        scores[: max(0, lowest[step] - low)] = -np.inf
    return _trace(states, low + int(scores.argmax()), lows, stepped, skipped)


def words_of_path(
    path: Sequence[int], segment: Emissions, subwords: Subwords, step_seconds: float
) -> tuple[Word, ...]:
    """The words along a path through one segment, with times in the recording.

    Args:
        path: a symbol for every step, blanks and repeats included.
        segment: what the network heard.
        subwords: the symbols.
        step_seconds: time from one step to the next.
    """
    times = [step * step_seconds for step in range(len(path))]
    words = _words(path, subwords, segment.log_probs, times, segment.seconds, segment.quiet)
    if segment.start_seconds == 0.0:
        return words
    begin = segment.start_seconds
    return tuple(replace(word, start=word.start + begin, end=word.end + begin) for word in words)


def align_emissions(
    segments: Sequence[Emissions],
    symbols: Sequence[int],
    subwords: Subwords,
    duration: float,
    step_seconds: float,
) -> tuple[Word, ...]:
    """The words of a known text that is said in the segments of one recording.

    Args:
        segments: in the order of their time, at least one.
        symbols: of the text, no blanks.
        subwords: the symbols that there are.
        duration: seconds of the recording.
        step_seconds: time from one step to the next.

    Raises:
        ValueError: if the text takes more steps than there are.
    """
    between = torch.full((1, len(subwords)), _LEAST_LOG_PROB)  # where nothing is said
    between[0, BLANK] = 0.0
    parts: list[Tensor] = []
    times: list[float] = []
    hop_seconds = segments[0].quiet.hop_seconds
    quiet = [True] * round(duration / hop_seconds)
    for segment in segments:
        if parts:
            parts.append(between)
            times.append(segment.start_seconds)
        parts.append(segment.log_probs)
        times += [segment.start_seconds + step * step_seconds for step in range(len(segment.log_probs))]
        first = round(segment.start_seconds / hop_seconds)
        quiet[first : first + len(segment.quiet.frames)] = segment.quiet.frames
    log_probs = torch.cat(parts)
    path = forced_path(log_probs, symbols)
    return _words(path, subwords, log_probs, times, duration, Quiet(quiet, hop_seconds))


def _words(
    path: Sequence[int],
    subwords: Subwords,
    log_probs: Tensor,
    times: Sequence[float],
    duration: float,
    quiet: Quiet,
) -> tuple[Word, ...]:
    """The words along a path of which each step has its time."""
    words: list[list[tuple[int, int, int]]] = []  # of each symbol of each: symbol, first step, last step
    ended = True
    for step, symbol in enumerate(path):
        if symbol == BLANK:
            continue
        if step > 0 and path[step - 1] == symbol:
            words[-1][-1] = (symbol, words[-1][-1][1], step)
            continue
        if ended:
            words.append([])
        words[-1].append((symbol, step, step))
        ended = bool(subwords.ends_word[symbol])
    spans = [
        spoken_span(
            [
                (times[first], times[last] + LETTER_SECONDS * (len(subwords.letters[symbol]) - 1))
                for symbol, first, last in word
            ]
        )
        for word in words
    ]
    return tuple(
        Word(
            subwords.decode([symbol for symbol, _, _ in word]),
            start,
            end,
            sum(float(log_probs[first, symbol].exp()) for symbol, first, _ in word) / len(word),
        )
        for word, (start, end) in zip(words, place(spans, duration, quiet), strict=True)
    )


def _states(symbols: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """The states of a text: the symbol of each, whether it may follow the symbol before without a blank
    between them, and how many steps there must be behind it."""
    text = np.asarray(symbols)
    states = np.full(2 * len(text) + 1, BLANK)
    states[1::2] = text
    doubled = np.concatenate([[False], text[1:] == text[:-1]])
    may_skip = np.zeros(len(states), bool)
    may_skip[3::2] = ~doubled[1:]
    # Behind a symbol come all later ones, and a blank for each that is doubled; behind the blank before a
    # symbol the same and the symbol itself.
    behind = np.append(np.cumsum((1 + doubled)[::-1])[::-1], 0)[1:]
    needed = np.zeros(len(states), np.int64)
    needed[1::2] = behind
    needed[:-1:2] = behind + 1
    return states, may_skip, needed


def _trace(
    states: NDArray[np.int64],
    last: int,
    lows: NDArray[np.int64],
    stepped: NDArray[np.uint8],
    skipped: NDArray[np.uint8],
) -> list[int]:
    """The symbols along the path that ends in a state, from the bits that say where each came from."""
    path = [0] * len(lows)
    state = last
    for step in range(len(lows) - 1, -1, -1):
        path[step] = int(states[state])
        byte, bit = divmod(state - int(lows[step]), 8)
        mask = 128 >> bit
        if skipped[step, byte] & mask:
            state -= 2
        elif stepped[step, byte] & mask:
            state -= 1
    return path
