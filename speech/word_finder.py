"""From the network's answers to words: the searches that somebody asks for, and their language model.

Comes in: emissions of segments. Goes out: the words of each, with their times in the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from common.stages import NETWORK, SEARCH, stage
from speech.acoustic import AcousticModel
from speech.language.lexicon import Lexicon
from speech.language.loading import AnyLanguageModel, load_any_language_model, load_judge
from speech.language.ngram import NgramModel
from speech.language.recurrent import LanguageModel
from speech.language.vocabulary import SPECIAL
from speech.options import DecodingOptions
from speech.placing.alignment import Emissions, Word, forced_path, words_of_path
from speech.pool import SegmentFeatures
from speech.search.decoding import Decoder, least_wrong
from speech.search.judging import TextJudge
from speech.search.phones import PhoneListener
from speech.search.word_search import TextHypothesis

_KEPT = 2  # decoders, because they can be costly to make


class WordFinder:
    """What finds the words in segments.

    Args:
        acoustic: what hears them.
        language_model: directory of the model that knows the words and which follows which; None if any
            letters may be written. It is read when it is first needed.
        judge: directory of the recurrent model that judges what is found with the former; None to
            leave it at that. It is read when it is first needed.
    """

    def __init__(
        self, acoustic: AcousticModel, language_model: Path | None = None, judge: Path | None = None
    ) -> None:
        self.acoustic = acoustic
        self.directory = language_model
        self.judge_directory = judge
        self._decoders: dict[DecodingOptions, Decoder] = {}

    @cached_property
    def language_model(self) -> AnyLanguageModel | None:
        """What knows which word comes next; None if there is none.

        Raises:
            InputError: if it cannot be read.
        """
        return None if self.directory is None else load_any_language_model(self.directory)

    @cached_property
    def judge(self) -> LanguageModel | None:
        """What judges texts beside it; None if there is none, or no language model beside it.

        Raises:
            InputError: if it cannot be read, or knows hardly any of the words.
        """
        first, directory = self.language_model, self.judge_directory
        return None if first is None or directory is None else load_judge(directory, first)

    def decoder(self, options: DecodingOptions) -> Decoder:
        """What finds the text as the options say; the last two are kept.

        Raises:
            InputError: if an option names what cannot be used.
        """
        if options not in self._decoders:
            subwords = self.acoustic.subwords
            model = self.language_model if options.searches_words else None
            lexicon = None
            if model is not None:
                spelled = model.spelled(subwords) if isinstance(model, NgramModel) else None
                words = model.vocabulary[len(SPECIAL) :]
                lexicon = Lexicon(dict.fromkeys(words, 0.0), subwords, spelled)
            frequencies = self.acoustic.network.config.frequencies
            judge, listener = self._judge_for(options), self._listener_for(options)
            decoder = Decoder(options, subwords, lexicon, model, judge, frequencies, listener)
            self._decoders = dict([*self._decoders.items(), (options, decoder)][-_KEPT:])
        return self._decoders[options]

    def _judge_for(self, options: DecodingOptions) -> TextJudge | None:
        """The judge at work as the options say; None if it has no say."""
        matters = options.searches_words and options.lm_weight * options.judge_share > 0.0
        if not matters or self.language_model is None or self.judge is None:
            return None
        return TextJudge(self.judge, self.language_model, options.lm_weight, options.judge_share)

    def _listener_for(self, options: DecodingOptions) -> PhoneListener | None:
        """What compares texts with phones; None if it has no say, or nothing tells how words are spoken."""
        model = self.language_model if options.searches_words and options.phone_share > 0.0 else None
        if not isinstance(model, NgramModel) or not model.pronunciations:
            return None
        phones = self.acoustic.network.config.phones
        return PhoneListener(model.pronunciations, phones, options.phone_share, options.temperature)

    def texts(self, emissions: Sequence[Emissions], decoder: Decoder) -> list[TextHypothesis]:
        """The text of each segment of a batch."""
        heard = [one.phone_log_probs for one in emissions if one.phone_log_probs is not None]
        found = decoder.decode_batch([one.log_probs for one in emissions], heard)
        return [least_wrong(texts) for texts in found]

    @torch.inference_mode()
    def words(self, segments: Sequence[SegmentFeatures], options: DecodingOptions) -> list[tuple[Word, ...]]:
        """The words of each segment of a batch, with their times in the recording."""
        with stage(NETWORK):
            emissions = self.acoustic.emissions(segments)
        with stage(SEARCH):
            return self._found(emissions, self.decoder(options))

    def _found(self, emissions: Sequence[Emissions], decoder: Decoder) -> list[tuple[Word, ...]]:
        """The words that a search finds in the network's answers."""
        if decoder.is_greedy:
            paths = [one.log_probs.argmax(dim=-1).tolist() for one in emissions]
        else:
            paths = [
                forced_path(one.log_probs, text.symbols)
                for one, text in zip(emissions, self.texts(emissions, decoder), strict=True)
            ]
        return [
            words_of_path(path, one, self.acoustic.subwords, self.acoustic.step_seconds)
            for path, one in zip(paths, emissions, strict=True)
        ]
