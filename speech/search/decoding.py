"""Search: log-probabilities (steps, symbols) -> text.

Greedy takes the most probable symbol of every step and merges repeats: the best path, not the best text
(Graves et al. 2006, doi:10.1145/1143844.1143891). The prefix beam search adds up all paths of a text
(Graves and Jaitly 2014; Hannun et al. 2014, arXiv:1408.2873); `word_search.py` does so among known words,
which `judging.py` judges once more. Of what a search found, `least_wrong` chooses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from torch import Tensor

from common.errors import OptionError
from speech.language.lexicon import Lexicon, WordModel
from speech.language.ngram import NgramModel
from speech.model.subwords import BLANK, Subwords
from speech.options import DecodingOptions
from speech.search.grammar import phrase_log_probs, read_grammar
from speech.search.judging import TextJudge
from speech.search.phones import PhoneListener
from speech.search.word_search import TextHypothesis, WordSearch

_NEVER = -math.inf

# Added to the shares of symbols in texts: some stand there hardly ever.
_RAREST = 1e-5

# A grammar's phrase was said unless the network is this sure that nothing was.
_SILENCE = math.log(0.9)


class Decoder:
    """Finds the text of utterances, one by one; holds what is costly to make.

    Args:
        options: how text is found.
        subwords: the network's symbols.
        lexicon: the words that the model knows; None if it knows none: then texts are any letters.
        language_model: scores words by those before them; None leaves it to the lexicon's frequencies.
        judge: scores texts of known words once more; None leaves them as they are.
        frequencies: of the symbols in the texts that the network learned from; see `SpeechConfig`.
        listener: compares texts of known words with the phones that were heard; None leaves them as they are.

    Raises:
        InputError: if the grammar's file or a hotword cannot be used, or there is no lexicon for hotwords.
    """

    def __init__(
        self,
        options: DecodingOptions,
        subwords: Subwords,
        lexicon: Lexicon | None = None,
        language_model: WordModel | NgramModel | None = None,
        judge: TextJudge | None = None,
        frequencies: Sequence[float] = (),
        listener: PhoneListener | None = None,
    ) -> None:
        self.options, self.subwords, self.listener = options, subwords, listener
        self.handicaps = handicaps(frequencies, options.prior_weight)
        self.phrases = None if options.grammar is None else read_grammar(options.grammar)
        if options.hotwords and lexicon is None:
            raise OptionError("hotword", "needs a model with a lexicon, which this one does not have")
        self.words: WordSearch | None = None
        if lexicon is not None and options.searches_words:
            self.words = WordSearch(options, lexicon, language_model, judge)

    @property
    def is_greedy(self) -> bool:
        """Whether the text is that of the most probable path."""
        return self.options.beam == 1 and self.phrases is None

    def __call__(self, log_probs: Tensor) -> list[TextHypothesis]:
        """The most probable texts of one utterance, best first; at least one.

        With a grammar each is one of its phrases, but the only one is empty where the network is sure that
        nothing was said.

        Args:
            log_probs: (steps, symbols), on the CPU.
        """
        return self.decode_batch([log_probs])[0]

    def decode_batch(
        self, utterances: Sequence[Tensor], phone_log_probs: Sequence[Tensor] = ()
    ) -> list[list[TextHypothesis]]:
        """As for one utterance, for many together: for known words several times faster than one by one.

        Args:
            utterances: (steps, symbols) of each, on the CPU.
            phone_log_probs: (lower steps, phones) of each, if the texts are to be compared with them.
        """
        if self.words is not None:
            found = self.words([without_prior(one, self.handicaps) for one in utterances])
            return self.listener(found, phone_log_probs) if self.listener and phone_log_probs else found
        return [self._one(log_probs) for log_probs in utterances]

    def _one(self, log_probs: Tensor) -> list[TextHypothesis]:
        """The most probable texts of one utterance."""
        if self.phrases is not None:
            return _phrases(log_probs, self.phrases, self.options.beam, self.subwords)
        if self.is_greedy:
            best = log_probs.max(dim=-1)
            score = float(best.values.sum())
            symbols = tuple(collapse(best.indices.tolist()))
            return [TextHypothesis(self.subwords.decode(symbols), symbols, score, score)]
        return prefix_beam_search(log_probs, self.subwords, self.options.beam)


def handicaps(frequencies: Sequence[float], weight: float) -> Tensor | None:
    """What is taken from the log-probability of each symbol for being frequent in training.

    CTC's answer is a posterior: it holds how likely a symbol is in the texts of training. Where a language
    model says how likely words are, that counts twice, and for other texts wrongly (Miao, Gowayyed and Metze
    2015, "EESEN", arXiv:1507.08240, divide by the prior of each symbol). The mean over the symbols of those
    texts is 0, and so is the blank's: a text is as long as it was.

    Args:
        frequencies: of the symbols, as shares of all; the blank's is not looked at.
        weight: of their logarithms.

    Returns:
        (symbols,), or None where nothing is taken.
    """
    if not frequencies or weight == 0.0:
        return None
    shares = torch.tensor(frequencies)
    logarithms = (shares + _RAREST).log()
    handicap = weight * (logarithms - (shares * logarithms).sum())
    handicap[BLANK] = 0.0
    return handicap


def without_prior(log_probs: Tensor, handicap: Tensor | None) -> Tensor:
    """Log-probabilities (steps, symbols) of symbols with their handicap (symbols,)."""
    return log_probs if handicap is None else (log_probs - handicap).log_softmax(dim=-1)


def greedy(log_probs: Tensor, steps: Tensor, subwords: Subwords) -> list[str]:
    """The text along the most probable path of each utterance.

    Args:
        log_probs: (batch, steps, symbols).
        steps: (batch,) steps of each utterance; what lies behind them is not read.
        subwords: the symbols.
    """
    best = log_probs.argmax(dim=-1).tolist()
    return [
        subwords.decode(collapse(path[:length])) for path, length in zip(best, steps.tolist(), strict=True)
    ]


def collapse(path: Sequence[int]) -> list[int]:
    """The symbols of a path, one a step: repeats become one, then blanks go."""
    return [
        symbol
        for position, symbol in enumerate(path)
        if symbol != BLANK and (position == 0 or symbol != path[position - 1])
    ]


def prefix_beam_search(
    log_probs: Tensor, subwords: Subwords, beam: int, min_prob: float = 1e-4
) -> list[TextHypothesis]:
    """The most probable texts of one utterance, each with the probability of all its paths.

    Args:
        log_probs: (steps, symbols).
        subwords: the symbols.
        beam: texts that are followed at once.
        min_prob: symbols less probable than this are not tried in a step; it saves most of the work.

    Returns:
        Up to `beam` texts, best first.
    """
    threshold = math.log(min_prob) if min_prob > 0.0 else _NEVER
    # A text's paths end either in a blank or in its last symbol: only in the first case does the same
    # symbol once more make a new piece.
    texts: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, _NEVER)}
    for step in log_probs.tolist():
        likely = [symbol for symbol, value in enumerate(step) if value >= threshold and symbol != BLANK]
        following: dict[tuple[int, ...], tuple[float, float]] = {}
        for text, (blank, symbol_end) in texts.items():
            either = _add(blank, symbol_end)
            last = text[-1] if text else None
            stay_blank, stay_symbol = following.get(text, (_NEVER, _NEVER))
            if last is not None:
                stay_symbol = _add(stay_symbol, symbol_end + step[last])
            following[text] = (_add(stay_blank, either + step[BLANK]), stay_symbol)
            for symbol in likely:
                before = blank if symbol == last else either
                if before == _NEVER:
                    continue
                longer = (*text, symbol)
                longer_blank, longer_symbol = following.get(longer, (_NEVER, _NEVER))
                following[longer] = (longer_blank, _add(longer_symbol, before + step[symbol]))
        ranked = sorted(following.items(), key=lambda one: -_add(*one[1]))
        texts = dict(ranked[:beam])
    return [
        TextHypothesis(subwords.decode(text), text, _add(*ends), _add(*ends)) for text, ends in texts.items()
    ]


def least_wrong(texts: Sequence[TextHypothesis]) -> TextHypothesis:
    """The text that is expected to have the fewest wrong words: minimum Bayes risk.

    That need not be the most probable one: where several texts that differ elsewhere agree on a word, it is
    probably right (Stolcke, König and Weintraub 1997, "Explicit word error minimization in N-best list
    rescoring").

    Args:
        texts: of one utterance, the most probable one first, at least one.
    """
    best = texts[0]
    if best.score == _NEVER:
        return best
    words = [text.text.split() for text in texts]
    probabilities = np.exp([text.score - best.score for text in texts])
    expected = cdist(words, words, scorer=Levenshtein.distance) @ probabilities
    return texts[int(expected.argmin())]


def _phrases(
    log_probs: Tensor, phrases: tuple[str, ...], most: int, subwords: Subwords
) -> list[TextHypothesis]:
    """The most probable phrases, or nothing."""
    silence, *scores = phrase_log_probs(log_probs, ("", *phrases), subwords)
    if silence > _SILENCE:
        return [TextHypothesis("", (), silence, silence)]
    ranked = sorted(zip(scores, phrases, strict=True), key=lambda one: -one[0])
    if ranked[0][0] == _NEVER:  # every phrase takes more steps than there are
        return [TextHypothesis("", (), silence, silence)]
    return [
        TextHypothesis(phrase, tuple(subwords.encode(phrase)), score, score)
        for score, phrase in ranked[:most]
    ]


def _add(first: float, second: float) -> float:
    """The logarithm of the sum of two probabilities, given as logarithms."""
    if first < second:
        first, second = second, first
    return first if second == _NEVER else first + math.log1p(math.exp(second - first))
