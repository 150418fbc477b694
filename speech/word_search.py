"""Prefix beam search among texts of known words, with a language model.

Comes in: log-probabilities (steps, symbols). Goes out: texts, best first, each with its score:
log-probability of all its paths + lm_weight * log-probability of its words and the end + word_bonus * words
(Hannun et al. 2014, arXiv:1408.2873), and what hotwords bring. Spaces around a text, and several for one,
are as good as none and one. An empty text has no words and no end: where nothing is heard, nothing is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import attrgetter

from torch import Tensor

from speech.histories import END, UNKNOWN, History, KnownRows, WordScores
from speech.lexicon import HotNode, Lexicon, Node, WordModel, hot_phrases, hot_trie
from speech.options import DecodingOptions
from speech.text import BLANK, decode, encode

(_SPACE,) = encode(" ")
(_APOSTROPHE,) = encode("'")


@dataclass(frozen=True)
class TextHypothesis:
    """A text that a search found.

    Attributes:
        symbols: of the text.
        log_prob: of all paths that were followed and give this text.
        score: what it was chosen by: the former, and what language model and options add.
    """

    symbols: tuple[int, ...]
    log_prob: float
    score: float

    @property
    def text(self) -> str:
        """The symbols as a string."""
        return decode(self.symbols)


class WordSearch:
    """The search, with what all utterances share.

    Args:
        options: how text is found.
        lexicon: the known words.
        model: scores words by those before them; None leaves it to the lexicon.

    Raises:
        InputError: if a hotword has no word in it.
    """

    def __init__(self, options: DecodingOptions, lexicon: Lexicon, model: WordModel | None = None) -> None:
        phrases = hot_phrases(options.hotwords)
        if phrases:
            lexicon = lexicon.including(word for phrase in phrases for word in phrase.split())
        self.options, self.lexicon = options, lexicon
        self.hot = hot_trie(phrases, options.hotword_boost) if phrases else None
        self.scores = WordScores(lexicon, model)

    def __call__(self, log_probs: Tensor) -> list[TextHypothesis]:
        """The best texts of one utterance: up to `options.beam`, at least one.

        Args:
            log_probs: (steps, symbols), on the CPU.
        """
        return _Utterance(self).search(log_probs)


class _Text:
    """The beginning of a text. Beginnings form a tree, so that none is ever compared with another.

    Attributes:
        parent, symbol: the text without its last symbol, and that symbol.
        letters: of the word that has begun; 0 before a word's first letter.
        node: of that word in the lexicon; None when it has left the lexicon.
        history: the words before it.
        settled: what complete words have added to the score.
        bonus: the same, and what is expected of the word that has begun.
        hot: places in the trie of hotwords that the last words are on.
        blank, last: probability of the paths so far that end in a blank, and in the last symbol; only in the
            first case does the same symbol once more make a new letter. Before a word's first letter that
            makes no difference and all is in `blank`. A common factor is kept apart.
        next_blank, next_last: the same, a step later.
        step: the last one that reached this text.
        score: log-probability and bonus, within a step.
        following: texts longer by one symbol; None where there can be none.
    """

    __slots__ = (
        *("parent", "symbol", "letters", "node", "history", "settled", "bonus", "hot"),
        *("blank", "last", "next_blank", "next_last", "step", "score", "following"),
    )

    def __init__(
        self, parent: _Text | None, symbol: int, letters: int, node: Node | None, history: History
    ) -> None:
        self.parent, self.symbol = parent, symbol
        self.letters, self.node, self.history = letters, node, history
        self.settled = self.bonus = 0.0
        self.hot: tuple[HotNode, ...] = ()
        self.blank = self.last = self.next_blank = self.next_last = self.score = 0.0
        self.step = -1
        self.following: dict[int, _Text | None] = {}

    def symbols(self) -> tuple[int, ...]:
        """The text's symbols, without a space at its end."""
        symbols: list[int] = []
        text = self
        while text.parent is not None:
            symbols.append(text.symbol)
            text = text.parent
        if symbols and symbols[0] == _SPACE:
            del symbols[0]
        return tuple(reversed(symbols))


class _Utterance:
    """The search through one utterance."""

    def __init__(self, shared: WordSearch) -> None:
        self.options, self.lexicon, self.hot = shared.options, shared.lexicon, shared.hot
        self.scores, self.rows = shared.scores, KnownRows(shared.scores)
        start = self._boundary(None, self.scores.start())
        start.blank = 1.0
        self.beam = [start]
        self.log_scale = 0.0  # logarithm of the probabilities' common factor
        self.made = [start]

    def search(self, log_probs: Tensor) -> list[TextHypothesis]:
        """(steps, symbols) -> texts, best first."""
        least = self.options.least
        # Probabilities add up several times faster than logarithms.
        for number, step in enumerate(log_probs.double().exp().tolist()):
            likely = [(symbol, p) for symbol, p in enumerate(step) if p > 0.0 and p >= least]
            if likely and likely[0][0] == BLANK:
                del likely[0]
            if likely:
                self._prune(self._spread(number, step, likely))
            else:
                self._stay(step)
        found = self._finish()
        for text in self.made:  # parents and children hold each other: let go without the collector
            text.following.clear()
            text.history.following.clear()
        return found

    def _stay(self, step: list[float]) -> None:
        """A step in which nothing new is heard: most are of this kind."""
        blank = step[BLANK]
        best = 0.0
        for text in self.beam:
            if text.letters:
                text.blank = (text.blank + text.last) * blank
                text.last *= step[text.symbol]
            else:
                text.blank *= blank + step[_SPACE]
            best = max(best, text.blank, text.last)
        self._rescale(best)

    def _spread(self, number: int, step: list[float], likely: list[tuple[int, float]]) -> list[_Text]:
        """Everything that the texts of the beam become in a step, with its probability."""
        # Which letters are worth trying depends on the words that they may become.
        self.rows.keep(text.history for text in self.beam)
        reached: list[_Text] = []
        completed: list[_Text] = []
        blank, space = step[BLANK], step[_SPACE]
        for text in self.beam:
            before = text.blank + text.last
            if text.letters:
                text.next_blank = before * blank
                text.next_last = text.last * step[text.symbol]
            else:
                text.next_blank = before * (blank + space)
            text.step = number
            reached.append(text)
        limit = self._limit()
        for text in self.beam:
            symbol_before, before_same = text.symbol, text.blank
            before = before_same + text.last
            following = text.following
            # A letter more brings no more than the bonus of a word that begins.
            hopeless = limit - text.bonus - (0.0 if text.letters else self.options.word_bonus)
            least = math.exp(min(hopeless, 0.0)) / before if before > 0.0 else math.inf
            for symbol, p in likely:
                longer = following.get(symbol)
                if longer is None:
                    if symbol in following:
                        continue
                    if symbol == _SPACE:
                        if self._is_word(text):
                            completed.append(text)
                        else:
                            following[symbol] = None
                        continue
                    if p < least:
                        continue
                    longer = following[symbol] = self._spell(text, symbol)
                    if longer is None:
                        continue
                if longer.step != number:
                    longer.step = number
                    reached.append(longer)
                if symbol == _SPACE:
                    longer.next_blank += before * p
                else:
                    longer.next_last += (before_same if symbol == symbol_before else before) * p
        for text in completed:
            longer = self._complete(text)
            longer.step = number
            longer.next_blank += (text.blank + text.last) * space
            reached.append(longer)
        return reached

    def _limit(self) -> float:
        """A score that the beam will have without any longer text: what stays below it need not be made."""
        if self.hot is not None or len(self.beam) < self.options.beam:  # hotwords lend as they are spelled
            return -math.inf
        probabilities = [text.next_blank + text.next_last for text in self.beam]
        if min(probabilities) <= 0.0:
            return -math.inf
        return min(math.log(p) + text.bonus for p, text in zip(probabilities, self.beam, strict=True))

    def _prune(self, reached: list[_Text]) -> None:
        """Keep the best of what was reached as the beam."""
        log = math.log
        alive = []
        for text in reached:
            probability = text.next_blank + text.next_last
            if probability > 0.0:
                text.score = log(probability) + text.bonus
                alive.append(text)
        if not alive:  # no known word fits this step: go on as if it had not been heard
            self.log_scale = -math.inf
        else:
            limit = max([text.score for text in alive]) - self.options.beam_margin
            alive = [text for text in alive if text.score >= limit]
            if len(alive) > self.options.beam:
                alive.sort(key=attrgetter("score"), reverse=True)
                del alive[self.options.beam :]
            self.beam = alive
            best = 0.0
            for text in alive:
                text.blank, text.last = text.next_blank, text.next_last
                best = max(best, text.blank, text.last)
            self._rescale(best)
        for text in reached:
            text.next_blank = text.next_last = 0.0

    def _rescale(self, best: float) -> None:
        """Keep the beam's probabilities, of which this is the best, where a float can tell them apart."""
        if 0.0 < best < 1e-30:
            for text in self.beam:
                text.blank /= best
                text.last /= best
            self.log_scale += math.log(best)

    def _is_word(self, text: _Text) -> bool:
        """Whether the text could end here, or go on with a space."""
        if text.node is not None and text.node.word is not None:
            return True
        return self.options.open_vocabulary and text.letters > 0 and text.symbol != _APOSTROPHE

    def _spell(self, text: _Text, symbol: int) -> _Text | None:
        """The text and one letter more, if there is such a word.

        The beam compares unfinished words by the likeliest one that each may become, after the words before
        it (Ortmanns et al. 1996, "Language-model look-ahead for large vocabulary speech recognition"). Half
        as wide a beam then finds as much as with what is likely anywhere.
        """
        node = None if text.node is None else text.node.children.get(symbol)
        letters, lm_weight, history = text.letters + 1, self.options.lm_weight, text.history
        expected = -math.inf
        if self.options.open_vocabulary and not (symbol == _APOSTROPHE and letters == 1):
            expected = lm_weight * history.log_prob(UNKNOWN) + self._spelled(letters)
        if node is not None:
            assert history.row is not None
            expected = max(expected, lm_weight * node.best(history.row) + self.options.word_bonus)
        if expected == -math.inf:
            return None
        longer = _Text(text, symbol, letters, node, history)
        longer.settled = text.settled
        longer.bonus = text.settled + expected
        if self.hot is not None:
            places = text.hot if text.letters else (*text.hot, self.hot)
            longer.hot = _walk(places, symbol)
            longer.bonus += _credit(longer.hot)
        self.made.append(longer)
        return longer

    def _complete(self, text: _Text) -> _Text:
        """The text and a space. The history's row must be known."""
        word = None if text.node is None else text.node.word
        history = self.scores.after(text.history, word)
        longer = text.following[_SPACE] = self._boundary(text, history)
        longer.settled = longer.bonus = (
            text.settled + self._said(text) + sum(place.boost for place in text.hot)
        )
        if text.hot:
            longer.hot = _walk(text.hot, _SPACE)
            longer.bonus += _credit(longer.hot)
        self.made.append(longer)
        return longer

    def _boundary(self, text: _Text | None, history: History) -> _Text:
        """A text before a word's first letter: a second space is none."""
        boundary = _Text(text, _SPACE, 0, self.lexicon.root, history)
        boundary.following[_SPACE] = None
        return boundary

    def _said(self, text: _Text) -> float:
        """What the text's last word adds to the score."""
        options, history = self.options, text.history
        if text.node is not None and text.node.word is not None:
            return options.lm_weight * history.log_prob(text.node.word) + options.word_bonus
        return options.lm_weight * history.log_prob(UNKNOWN) + self._spelled(text.letters)

    def _spelled(self, letters: int) -> float:
        """What a word of so many letters that nobody knows adds to the score, beside the language model."""
        return self.options.word_bonus - self.options.unknown_letter_penalty * letters

    def _finish(self) -> list[TextHypothesis]:
        """The beam's texts that end in a word, with the end of the sentence, best first."""
        totals: dict[_Text, float] = {}
        complete = [text for text in self.beam if text.letters and self._is_word(text)]
        for text in self.beam:
            if text.letters == 0:
                totals[text] = totals.get(text, 0.0) + text.blank
        for text in complete:
            ended = text.following.get(_SPACE) or self._complete(text)
            totals[ended] = totals.get(ended, 0.0) + text.blank + text.last
        if not totals:  # every text breaks off within a word: leave that away
            for text in self.beam:
                ended = text
                while ended.letters and ended.parent is not None:
                    ended = ended.parent
                totals[ended] = totals.get(ended, 0.0) + text.blank + text.last
        self.rows.keep(text.history for text in totals)
        found = []
        for text, probability in totals.items():
            log_prob = math.log(probability) + self.log_scale if probability > 0.0 else -math.inf
            score = log_prob + text.settled
            if text.parent is not None:
                score += self.options.lm_weight * text.history.log_prob(END)
            found.append(TextHypothesis(text.symbols(), log_prob, score))
        return sorted(found, key=attrgetter("score"), reverse=True)


def _walk(places: tuple[HotNode, ...], symbol: int) -> tuple[HotNode, ...]:
    """The places that a symbol leads to; where it leads nowhere, what was lent is taken back."""
    return tuple(place.following[symbol] for place in places if symbol in place.following)


def _credit(places: tuple[HotNode, ...]) -> float:
    """What hotwords lend to a text that may become one."""
    return max((place.credit for place in places), default=0.0)
