"""Prefix beam search among texts of known words, with a language model, in many utterances at once.

Comes in: log-probabilities (steps, symbols) of each utterance. Goes out: its texts, best first, each with its
score: log-probability of all its paths + lm_weight * log-probability of its words and the end + word_bonus *
words (Hannun et al. 2014, arXiv:1408.2873), and what hotwords bring. A judge reads what texts the beam holds
every few steps, and at the end. A known word has one spelling; any other sequence of pieces is an unknown
word. An empty text has no words and no end: where nothing is heard, nothing is said.

Each step is worked out for all texts that are followed, of all utterances, in a few dozen operations on
arrays. What is found in an utterance does not depend on the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from speech.language.lexicon import Lexicon, WordModel
from speech.language.ngram import NgramModel
from speech.model.subwords import BLANK
from speech.options import DecodingOptions
from speech.search.beam import Following, Pieces, Texts, Traces, runs, text_scores
from speech.search.condensed import Condensed
from speech.search.histories import LEXICON_END, LEXICON_UNKNOWN, Numbers, Values, WordScores
from speech.search.hotwords import HotWords, hot_phrases
from speech.search.judging import TextJudge
from speech.search.ngram_histories import NgramScores

# A text's key is that of the text without its last symbol, times this, plus the symbol: texts that are the
# same have the same, whichever way they came about, and others have others (all but surely).
_KEY_FACTOR = 6364136223846793005

# Utterances that are searched at once: more would save little, and each takes some 4 MB.
_TOGETHER = 32

# Steps from one reading of the judge to the next. Read at the end alone, a long text has lost by then what
# only the judge would have kept.
_JUDGED_EVERY = 16


@dataclass(frozen=True)
class TextHypothesis:
    """A text that a search found.

    Attributes:
        text: its words.
        symbols: that spell it.
        log_prob: of all paths that were followed and give this text.
        score: what it was chosen by: the former, and what language model and options add.
    """

    text: str
    symbols: tuple[int, ...]
    log_prob: float
    score: float


class WordSearch:
    """The search, with what all utterances share.

    Args:
        options: how text is found.
        lexicon: the known words, and the subwords that spell all.
        model: scores words by those before them; None leaves it to the lexicon.
        judge: scores them once more; None leaves them as they are.

    Raises:
        InputError: if a hotword has no word in it.
    """

    def __init__(
        self,
        options: DecodingOptions,
        lexicon: Lexicon,
        model: WordModel | NgramModel | None = None,
        judge: TextJudge | None = None,
    ) -> None:
        phrases = hot_phrases(options.hotwords)
        if phrases:
            lexicon = lexicon.including(word for phrase in phrases for word in phrase.split())
        self.options, self.lexicon, self.judge = options, lexicon, judge
        self.hot = HotWords(phrases, options.hotword_boost, lexicon.subwords) if phrases else None
        self.scores: WordScores | NgramScores
        if isinstance(model, NgramModel):
            self.scores = NgramScores(lexicon.words, model)
        else:
            self.scores = WordScores(lexicon, model)
        self.pieces = Pieces(lexicon.subwords)

    def __call__(self, utterances: Sequence[Tensor]) -> list[list[TextHypothesis]]:
        """The best texts of each utterance: up to `options.beam`, at least one.

        Args:
            utterances: (steps, symbols) log-probabilities of each, on the CPU.
        """
        found = []
        for start in range(0, len(utterances), _TOGETHER):
            found += _Search(self, utterances[start : start + _TOGETHER]).run()
        return found


class _Search:
    """The search through a batch of utterances."""

    def __init__(self, shared: WordSearch, utterances: Sequence[Tensor]) -> None:
        self.options, self.lexicon, self.hot = shared.options, shared.lexicon, shared.hot
        self.pieces = shared.pieces
        count = len(utterances)
        self.histories = shared.scores.histories(count)
        hot = () if self.hot is None else self.hot.spelled
        self.sound = Condensed(utterances, self.options.temperature, self.options.min_prob, hot)
        # Logarithm of the factor that the texts of an utterance have in common.
        self.log_scale = self.sound.log_blanks.copy()
        self.found: list[list[TextHypothesis]] = [[] for _ in utterances]
        self.traces = Traces(self.lexicon.subwords)
        self.texts = Texts.empty(count)
        self.beginnings = None if shared.judge is None else shared.judge.beginnings()

    def run(self) -> list[list[TextHypothesis]]:
        """The texts of each utterance, best first."""
        with np.errstate(divide="ignore", over="ignore"):
            for step in range(len(self.sound.heard)):
                self._rest(step)
                self._end(step)
                self._step(self.sound.heard[step], self.sound.likely[step])
                if step % _JUDGED_EVERY == _JUDGED_EVERY - 1:
                    self._judge(self.texts)
            self._rest(len(self.sound.heard))
            self._end(len(self.sound.heard))
        return self.found

    def _rest(self, step: int) -> None:
        """Go on by the dull steps before a step."""
        texts = self.texts
        stay = self.sound.stays[step][texts.utterance, texts.symbol]
        texts.blank += texts.last * self.sound.pauses[step][texts.utterance, texts.symbol]
        texts.last *= stay

    def _step(self, heard: Values, likely: NDArray[np.bool_]) -> None:
        """Go on by a step.

        Args:
            heard: (utterances, symbols) probabilities.
            likely: (utterances, symbols) which symbols may follow in this step.
        """
        texts = self.texts
        unheard = texts.values[:2].copy()
        before, before_same = texts.blank + texts.last, unheard[0]
        texts.last *= heard[texts.utterance, texts.symbol]
        texts.blank[:] = before * heard[texts.utterance, BLANK]
        following = Following(texts, likely)
        parents, symbols = following.parents, following.symbols
        # What a text brings on its way to a longer one.
        brought = np.where(symbols == texts.symbol[parents], before_same[parents], before[parents])
        brought *= heard[texts.utterance[parents], symbols]
        begins = texts.letters == 0
        possible = np.where(begins[parents], self.pieces.begins_word[symbols], self.pieces.follows[symbols])
        self._go_on_to_known(following, brought, possible)
        limits = self._limits()
        # A piece more brings no more than was expected already, but for the bonus of a word that begins.
        hopes = texts.bonus + np.where(begins, self.options.word_bonus, 0.0)
        if self.hot is not None:
            hopes += self.hot.most - self.hot.credit[texts.hot]
        possible &= np.log(brought) >= (limits - hopes)[parents]
        parents, symbols, brought = parents[possible], symbols[possible], brought[possible]
        self._know(texts.history[parents])
        ends = self.pieces.ends_word[symbols]
        longer = [
            self._spelled(parents[~ends], symbols[~ends], brought[~ends], limits),
            self._completed(parents[ends], symbols[ends], brought[ends], limits),
        ]
        self.texts = self._best_of([texts, *longer], unheard)
        self._rescale()

    def _go_on_to_known(self, following: Following, brought: Values, possible: NDArray[np.bool_]) -> None:
        """Give texts what the text without their last symbol brings, if that is followed as well.

        What has been given is no longer `possible`.
        """
        texts = self.texts
        order = np.argsort(texts.key)
        places = np.minimum(np.searchsorted(texts.key, texts.parent, sorter=order), len(order) - 1)
        parents = order[places]
        reached = (texts.key[parents] == texts.parent) & following.likely[texts.utterance, texts.symbol]
        (children,) = np.nonzero(reached)
        pairs = following.pairs(parents[children], texts.symbol[children])
        children, pairs = children[possible[pairs]], pairs[possible[pairs]]
        texts.last[children] += brought[pairs]
        possible[pairs] = False

    def _judge(self, texts: Texts) -> None:
        """Let the judge read the words that have been completed since it read last."""
        if self.beginnings is None:
            return
        words, read = [], []
        for trace, since in zip(texts.trace.tolist(), texts.read.tolist(), strict=True):
            whole = self.traces.whole(trace, since)
            words.append(self.traces.words(whole, since))
            read.append(whole)
        longer = self.beginnings.after(texts.beginning, words)
        change = self.beginnings.changes[longer] - self.beginnings.changes[texts.beginning]
        texts.read[:], texts.beginning[:] = read, longer
        texts.settled += change
        texts.bonus += change

    def _limits(self) -> Values:
        """What a longer text has to score to come into the beam, for each text that it may begin with.

        The texts that are there set the mark: the others need not be made.
        """
        texts, options = self.texts, self.options
        scores = text_scores(texts)
        starts, counts = runs(texts.utterance)
        limit = np.maximum.reduceat(scores, starts) - options.beam_margin
        full = counts >= options.beam
        limit[full] = np.maximum(limit, np.minimum.reduceat(scores, starts))[full]
        return np.repeat(limit, counts)

    def _spelled(self, parents: Numbers, symbols: Numbers, brought: Values, limits: Values) -> Texts:
        """Texts and one piece more within a word, of which some may come into the beam.

        The beam compares unfinished words by the likeliest one that each may become, after the words before
        it (Ortmanns et al. 1996, "Language-model look-ahead for large vocabulary speech recognition"). Half
        as wide a beam then finds as much as with what is likely anywhere.

        Args:
            parents, symbols: of each, the text and the piece.
            brought: probability of the paths so far that end in the piece.
            limits: of each text, what a longer one has to score.
        """
        texts, lexicon, options = self.texts, self.lexicon, self.options
        histories, letters = texts.history[parents], texts.letters[parents] + self.pieces.letters[symbols]
        nodes = lexicon.after(texts.node[parents], symbols)
        expected = np.full(len(parents), -np.inf)
        if options.open_vocabulary:
            unknown = self.histories.log_probs(histories, LEXICON_UNKNOWN)
            expected = options.lm_weight * unknown + self._unknown(letters)
        (known,) = np.nonzero(nodes != lexicon.outside)
        if len(known):
            first, last = lexicon.first[nodes[known]], lexicon.last[nodes[known]]
            best = self.histories.best(histories[known], first, last)
            expected[known] = np.maximum(expected[known], options.lm_weight * best + options.word_bonus)
        bonus = texts.settled[parents] + expected
        if self.hot is not None:
            bonus += self.hot.credit[self.hot.after[texts.hot[parents], symbols]]
        (chosen,) = np.nonzero(np.log(brought) + bonus >= limits[parents])
        longer = self._longer(parents[chosen], symbols[chosen], brought[chosen], bonus[chosen])
        longer.letters[:], longer.node[:] = letters[chosen], nodes[chosen]
        return longer

    def _completed(self, parents: Numbers, symbols: Numbers, brought: Values, limits: Values) -> Texts:
        """Texts and the last piece of a word, of which some may come into the beam; as `_spelled`."""
        texts, lexicon, options = self.texts, self.lexicon, self.options
        histories = texts.history[parents]
        nodes = lexicon.after(texts.node[parents], symbols)
        words = np.where(nodes != lexicon.outside, lexicon.first[nodes], LEXICON_UNKNOWN)
        letters = texts.letters[parents] + self.pieces.letters[symbols]
        settled = texts.settled[parents] + options.lm_weight * self.histories.log_probs(histories, words)
        settled += np.where(words == LEXICON_UNKNOWN, self._unknown(letters), options.word_bonus)
        if not options.open_vocabulary:
            settled[words == LEXICON_UNKNOWN] = -np.inf
        bonus = settled
        if self.hot is not None:
            settled += self.hot.boost[texts.hot[parents], symbols]
            bonus = settled + self.hot.credit[self.hot.after[texts.hot[parents], symbols]]
        (chosen,) = np.nonzero(np.log(brought) + bonus >= limits[parents])
        longer = self._longer(parents[chosen], symbols[chosen], brought[chosen], bonus[chosen])
        longer.settled[:] = settled[chosen]
        longer.history[:] = self.histories.after(histories[chosen], words[chosen])
        longer.letters[:] = longer.node[:] = 0
        return longer

    def _longer(self, parents: Numbers, symbols: Numbers, brought: Values, bonus: Values) -> Texts:
        """Texts with one symbol more, as far as it matters not whether that ends a word."""
        longer = self.texts[parents]
        longer.parent[:] = longer.key
        longer.key[:] = longer.key * _KEY_FACTOR + symbols + 1
        longer.symbol[:] = symbols
        longer.blank[:], longer.last[:], longer.bonus[:] = 0.0, brought, bonus
        if self.hot is not None:
            longer.hot[:] = self.hot.after[longer.hot, symbols]
        return longer

    def _unknown(self, letters: Numbers) -> Values:
        """What a word of so many letters that nobody knows adds to the score, beside the language model."""
        return self.options.word_bonus - self.options.unknown_letter_penalty * letters.astype(np.float64)

    def _know(self, histories: Numbers) -> None:
        """Know what is likely after each history."""
        self.histories.know(histories, self.texts.history)

    def _best_of(self, parts: Sequence[Texts], unheard: Values) -> Texts:
        """The beam after a step.

        Args:
            parts: the texts of the beam so far, then new ones.
            unheard: (2, texts) probabilities of the texts of the beam before this step.
        """
        texts = Texts.joined(parts)
        there = len(parts[0])
        scores = text_scores(texts)
        best = self._best_scores(texts, scores)
        if (lost := best[texts.utterance[:there]] == -np.inf).any():
            # No known word fits this step: go on as if it had not been heard.
            (lost,) = np.nonzero(lost)
            texts.values[:2, lost] = unheard[:, lost]
            scores[lost] = best[texts.utterance[lost]] = 0.0
            self.log_scale[texts.utterance[lost]] = -np.inf
        (good,) = np.nonzero(
            (scores > -np.inf) & (scores >= best[texts.utterance] - self.options.beam_margin)
        )
        order = good[np.lexsort((-scores[good], texts.utterance[good]))]
        starts, counts = runs(texts.utterance[order])
        rank = np.arange(len(order)) - np.repeat(starts, counts)
        chosen = order[rank < self.options.beam]
        beam = texts[chosen]
        new = chosen >= there
        beam.trace[new] = self.traces.longer(beam.trace[new], beam.symbol[new])
        return beam

    def _best_scores(self, texts: Texts, scores: Values) -> Values:
        """The best score among the texts of each utterance, (utterances,); minus infinity without any."""
        best = np.full(len(self.log_scale), -np.inf)
        np.maximum.at(best, texts.utterance, scores)
        return best

    def _rescale(self) -> None:
        """Keep the probabilities where a float can tell them apart."""
        texts = self.texts
        starts, counts = runs(texts.utterance)
        best = np.maximum.reduceat(np.maximum(texts.blank, texts.last), starts)
        small = (best > 0.0) & (best < 1e-30)
        if small.any():
            factor = np.where(small, best, 1.0)
            texts.values[:2] /= np.repeat(factor, counts)
            self.log_scale[texts.utterance[starts]] += np.log(factor)

    def _end(self, step: int) -> None:
        """Let the utterances that have no more steps end: their texts of whole words, best first."""
        ends = self.sound.lengths[self.texts.utterance] == step
        if not ends.any():
            return
        texts = self.texts[ends]
        self.texts = self.texts[~ends]
        texts.blank += texts.last
        whole = texts[texts.letters == 0]
        # Where every text breaks off within a word, that is left away.
        broken = texts[~np.isin(texts.utterance, whole.utterance)]
        broken.trace[:] = [self.traces.whole(trace) for trace in broken.trace.tolist()]
        texts = Texts.joined([whole, broken])
        # What ends is compared as what goes on is: the others' ends need not be judged.
        scores = np.log(texts.blank) + texts.settled
        best = self._best_scores(texts, scores)
        texts = texts[~(scores < best[texts.utterance] - self.options.beam_margin)]
        self._know(texts.history)
        self._judge(texts)
        endings = self.options.lm_weight * self.histories.log_probs(texts.history, LEXICON_END)
        if self.beginnings is not None:
            endings += self.beginnings.end_changes(texts.beginning)
        added: dict[tuple[int, tuple[int, ...]], tuple[float, float]] = {}
        for utterance, trace, probability, settled, ending in zip(
            texts.utterance.tolist(),
            texts.trace.tolist(),
            texts.blank.tolist(),
            texts.settled.tolist(),
            endings.tolist(),
            strict=True,
        ):
            symbols = self.traces.symbols(trace)
            so_far, _ = added.get((utterance, symbols), (0.0, 0.0))
            added[utterance, symbols] = so_far + probability, settled + (ending if symbols else 0.0)
        for (utterance, symbols), (probability, bonus) in added.items():
            log_prob = math.log(probability) if probability > 0.0 else -math.inf
            log_prob += float(self.log_scale[utterance])
            text = self.lexicon.subwords.decode(symbols)
            self.found[utterance].append(TextHypothesis(text, symbols, log_prob, log_prob + bonus))
        for utterance in {utterance for utterance, _ in added}:
            self.found[utterance].sort(key=attrgetter("score"), reverse=True)
