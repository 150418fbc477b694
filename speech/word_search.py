"""Prefix beam search among texts of known words, with a language model.

Comes in: log-probabilities (steps, symbols). Goes out: texts, best first, each with its score:
log-probability of all its paths + lm_weight * log-probability of its words and the end + word_bonus * words
(Hannun et al. 2014, arXiv:1408.2873), and what hotwords bring. Spaces around a text, and several for one,
are as good as none and one. An empty text has no words and no end: where nothing is heard, nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

import torch
from torch import Tensor

from common.recurrent import State
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
        self.options, self.lexicon, self.model = options, lexicon, model
        self.hot = hot_trie(phrases, options.hotword_boost) if phrases else None
        # Of each word of the lexicon, its number in the language model.
        self.numbers: list[int] = []
        self.beginning = _History(None, -1)
        if model is not None:
            known = {word: number for number, word in enumerate(model.vocabulary)}
            self.numbers = [known.get(word, model.unknown) for word in lexicon.words]
            self.beginning.state, rows = model.start()
            self.beginning.row = rows[0]

    def __call__(self, log_probs: Tensor) -> list[TextHypothesis]:
        """The best texts of one utterance: up to `options.beam`, at least one.

        Args:
            log_probs: (steps, symbols), on the CPU.
        """
        return _Utterance(self).search(log_probs)


class _History:
    """The words before a word, as far as the language model tells them apart.

    Attributes:
        parent, word: the history before the last word, and its number in the language model.
        state, row: what the language model remembers and says of the next word, once it was asked. A row is
            as long as the vocabulary, so it is dropped when no text of the beam needs it.
    """

    __slots__ = ("following", "parent", "row", "state", "word")

    def __init__(self, parent: _History | None, word: int) -> None:
        self.parent, self.word = parent, word
        self.following: dict[int, _History] = {}
        self.state: State | None = None
        self.row: Tensor | None = None


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
        self, parent: _Text | None, symbol: int, letters: int, node: Node | None, history: _History
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
        self.options, self.lexicon, self.model = shared.options, shared.lexicon, shared.model
        self.hot, self.numbers = shared.hot, shared.numbers
        beginning = _History(None, -1)
        beginning.state, beginning.row = shared.beginning.state, shared.beginning.row
        start = self._boundary(None, beginning)
        start.blank = 1.0
        self.beam = [start]
        self.log_scale = 0.0  # logarithm of the probabilities' common factor
        self.made = [start]
        self.rows: list[_History] = []

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
        if completed:
            self._ask(text.history for text in completed)
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
        """The text and one letter more, if there is such a word."""
        node = None if text.node is None else text.node.children.get(symbol)
        letters = text.letters + 1
        options = self.options
        if node is not None:
            expected = options.lm_weight * node.best
        elif options.open_vocabulary and not (symbol == _APOSTROPHE and letters == 1):
            expected = options.lm_weight * self.lexicon.unknown - options.unknown_letter_penalty * letters
        else:
            return None
        longer = _Text(text, symbol, letters, node, text.history)
        longer.settled = text.settled
        longer.bonus = text.settled + expected + options.word_bonus
        if self.hot is not None:
            places = text.hot if text.letters else (*text.hot, self.hot)
            longer.hot = _walk(places, symbol)
            longer.bonus += _credit(longer.hot)
        self.made.append(longer)
        return longer

    def _complete(self, text: _Text) -> _Text:
        """The text and a space. The history's row must be known."""
        number, score = self._word(text)
        history = text.history
        if self.model is not None:
            if number not in history.following:
                history.following[number] = _History(history, number)
            history = history.following[number]
        longer = text.following[_SPACE] = self._boundary(text, history)
        longer.settled = longer.bonus = text.settled + score + sum(place.boost for place in text.hot)
        if text.hot:
            longer.hot = _walk(text.hot, _SPACE)
            longer.bonus += _credit(longer.hot)
        self.made.append(longer)
        return longer

    def _boundary(self, text: _Text | None, history: _History) -> _Text:
        """A text before a word's first letter: a second space is none."""
        boundary = _Text(text, _SPACE, 0, self.lexicon.root, history)
        boundary.following[_SPACE] = None
        return boundary

    def _word(self, text: _Text) -> tuple[int, float]:
        """The text's last word: its number in the language model, and what it adds to the score."""
        options, row = self.options, text.history.row
        word = None if text.node is None else text.node.word
        extra = options.word_bonus if word is not None else self._spelled(text)
        if self.model is None:
            log_prob = self.lexicon.unknown if word is None else self.lexicon.log_probs[word]
            return -1, options.lm_weight * log_prob + extra
        assert row is not None
        number = self.model.unknown if word is None else self.numbers[word]
        log_prob = float(row[number])
        if word is not None and number == self.model.unknown:
            log_prob += self.model.unknown_share
        return number, options.lm_weight * log_prob + extra

    def _spelled(self, text: _Text) -> float:
        """What a word that nobody knows adds to the score, beside the language model."""
        return self.options.word_bonus - self.options.unknown_letter_penalty * text.letters

    def _ask(self, histories: Iterable[_History]) -> None:
        """Ask the language model what follows these histories, all that are still unasked at once."""
        if self.model is None:
            return
        needed = dict.fromkeys(histories)
        if all(history.row is not None for history in needed):
            return
        # A question costs about the same for one history and for ten: ask for the rest of the beam too.
        needed.update(dict.fromkeys(text.history for text in self.beam))
        for history in self.rows:
            if history not in needed:
                history.row = None
        unasked = [history for history in needed if history.row is None]
        states = [history.parent.state for history in unasked if history.parent and history.parent.state]
        joined = tuple(torch.cat(parts, dim=1) for parts in zip(*states, strict=True))
        state, rows = self.model.advance(torch.tensor([history.word for history in unasked]), joined)
        for place, history in enumerate(unasked):
            history.row = rows[place]
            history.state = tuple(part[:, place : place + 1] for part in state)
        self.rows = list(needed)

    def _finish(self) -> list[TextHypothesis]:
        """The beam's texts that end in a word, with the end of the sentence, best first."""
        totals: dict[_Text, float] = {}
        complete = [text for text in self.beam if text.letters and self._is_word(text)]
        self._ask(text.history for text in complete)
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
        if self.model is not None:
            self._ask(text.history for text in totals)
        found = []
        for text, probability in totals.items():
            log_prob = math.log(probability) + self.log_scale if probability > 0.0 else -math.inf
            score = log_prob + text.settled
            if self.model is not None and text.parent is not None:
                row = text.history.row
                assert row is not None
                score += self.options.lm_weight * float(row[self.model.end])
            found.append(TextHypothesis(text.symbols(), log_prob, score))
        return sorted(found, key=attrgetter("score"), reverse=True)


def _walk(places: tuple[HotNode, ...], symbol: int) -> tuple[HotNode, ...]:
    """The places that a symbol leads to; where it leads nowhere, what was lent is taken back."""
    return tuple(place.following[symbol] for place in places if symbol in place.following)


def _credit(places: tuple[HotNode, ...]) -> float:
    """What hotwords lend to a text that may become one."""
    return max((place.credit for place in places), default=0.0)
