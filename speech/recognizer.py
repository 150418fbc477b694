"""The whole recogniser: recordings of any length become transcripts.

from speech import Recognizer
print(Recognizer.load().transcribe("talk.mp3").text)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from common.commands.processes import Helpers
from common.core.quantized import multiplies_bfloat16_faster
from common.errors import InputError
from common.models.files import find_model, read_model
from speech.bundled import BUNDLED
from speech.language.lexicon import Lexicon
from speech.language.ngram import NgramModel, is_ngram_model, load_ngram_model
from speech.language.recurrent import SPECIAL, LanguageModel, load_language_model
from speech.model.network import SpeechNetwork, network_from_model
from speech.model.subwords import Subwords
from speech.options import DecodingOptions
from speech.original_text import OriginalText, fit
from speech.pipeline import Timed, hear_all, timed
from speech.placing.alignment import Piece, Word, align_pieces, forced_path, steps_needed, words_of_path
from speech.placing.timing import Quiet
from speech.pool import Heard
from speech.reading import Source, read_all, source_name
from speech.search.decoding import Decoder, least_wrong
from speech.sound.audio import SAMPLE_RATE, AudioOptions, load_audio, require_sound
from speech.sound.detector import SpeechDetector
from speech.sound.features import LogMel
from speech.sound.segments import clean
from speech.stream import Stream
from speech.transcript import Transcript, joined

WordHelpers = Helpers[Sequence[Heard], Timed[tuple[Word, ...]]]

LANGUAGE = "language"  # the language model's folder in a model directory


class Recognizer:
    """A trained network with all that it needs to be asked.

    Args:
        network: the acoustic model.
        name: the model's name, as it is reported.
        device: where it runs.
        language_model: directory of the model that knows its words and which follows which; None if any
            letters may be written. It is read when it is first needed.
        directory: where the network was read from, and helpers read it again; None if it was not.
        exact: whether the network reckons in float32 also where the processor is much faster in bfloat16.

    Attributes:
        subwords: the network's symbols.
        dtype: what the network reckons in.
    """

    def __init__(
        self,
        network: SpeechNetwork,
        name: str,
        device: str | torch.device = "cpu",
        language_model: Path | None = None,
        directory: Path | None = None,
        exact: bool = False,
    ) -> None:
        self.network = network.to(device).eval()
        self.subwords = Subwords(network.config.symbols)
        self.name = name
        self.device = torch.device(device)
        fast = not exact and multiplies_bfloat16_faster(self.device)
        self.dtype = torch.bfloat16 if fast else torch.float32
        self.log_mel = LogMel(network.config.features)
        self._directory = directory
        self._language_directory = language_model
        self._decoders: dict[DecodingOptions, Decoder] = {}
        self._detector: SpeechDetector | None = None

    @classmethod
    def load(
        cls,
        model: str | Path = "english",
        device: str = "cpu",
        threads: int = 0,
        language_model: str | Path | None = None,
        exact: bool = False,
    ) -> Recognizer:
        """Load a bundled model by its name, or any model directory.

        Args:
            model: "english", or the path of a model directory.
            device: where PyTorch runs it: "cpu", "cuda", "mps".
            threads: PyTorch's threads, for the whole process; 0 leaves its own choice.
            language_model: directory of a language model, as `speech train-lm` writes it; None for the one
                that lies in the model directory, if one does.
            exact: whether the network reckons in float32 on every processor. Otherwise it does so in bfloat16
                where that is three times as fast; texts then differ now and then, and are as often right.

        Raises:
            InputError: if there is no such model or it cannot be read.
        """
        if threads:
            torch.set_num_threads(threads)
        directory = find_model(model, BUNDLED)
        network = network_from_model(*read_model(directory), directory)
        own = directory / LANGUAGE
        language = own if language_model is None and own.is_dir() else language_model
        language = None if language is None else Path(language)
        return cls(network, directory.name, device, language, directory, exact)

    def transcribe(
        self, source: Source, options: DecodingOptions | None = None, audio: AudioOptions | None = None
    ) -> Transcript:
        """Transcribe one recording of any length.

        Args:
            source: a sound or video file in any usual container, an open binary file, or samples (samples,)
                or (channels, samples) float32 at 16 kHz, of which such as are no finite numbers count as 0.
            options: how text is found; None for the defaults.
            audio: which sound of the recording is heard; None for the default track, channels mixed.

        Returns:
            What was said; an empty transcript if nobody speaks, with a warning if nothing was recorded.

        Raises:
            InputError: if the file cannot be read or holds no samples at all.
        """
        return self.transcribe_batch([source], options, audio)[0]

    def transcribe_batch(
        self,
        sources: Sequence[Source],
        options: DecodingOptions | None = None,
        audio: AudioOptions | None = None,
    ) -> list[Transcript]:
        """Transcribe recordings together: for many short ones several times faster than one by one.

        Raises:
            InputError: if a recording cannot be read or holds no samples at all.
        """
        transcripts: dict[int, Transcript] = {}
        for number, result, _ in self.transcribe_all(sources, options, audio=audio):
            if isinstance(result, InputError):
                raise result
            transcripts[number] = result
        return [transcripts[number] for number in range(len(sources))]

    def transcribe_all(
        self,
        sources: Iterable[Source],
        options: DecodingOptions | None = None,
        batch_size: int = 32,
        progress: Callable[[float], object] | None = None,
        helpers: WordHelpers | None = None,
        audio: AudioOptions | None = None,
    ) -> Generator[tuple[int, Transcript | InputError, float], None, None]:
        """Transcribe any number of recordings of any length, in memory that depends on neither.

        A thread reads ahead. Segments of several recordings are put in order of their length, so that those
        of like length go through the network together and little of it is padding.

        Args:
            sources: recordings as in `transcribe`; taken one after another, as they are needed.
            options: how text is found; None for the defaults.
            batch_size: segments that go through the network together, at most.
            progress: called with the seconds of sound that were done since the last call.
            helpers: processes that do a share of it, made by `helpers` with the same options.
            audio: which sound of the recordings is heard; None for the default track, channels mixed.

        Yields:
            As soon as a recording is done: its number, what was said in it or why it cannot be read, and the
            seconds that it took.
        """
        options = options or DecodingOptions()
        self.decoder(options)  # what cannot be used is said before anything is read

        def words_of(batch: Sequence[Heard]) -> list[tuple[Word, ...]]:
            return self.words(batch, options)

        helpers = helpers or Helpers.none()
        items = read_all(sources, self.log_mel, self.detector(), audio)
        for number, recording in hear_all(items, words_of, batch_size, helpers, progress):
            yield number, recording.result(joined), recording.seconds

    def helpers(self, count: int, options: DecodingOptions | None = None) -> WordHelpers:
        """Processes that recognise beside this one; see `common.commands.processes.Helpers`, and close them.

        A script that uses them does its work under `if __name__ == "__main__"`, because they import it.

        Args:
            count: of processes, some 400 MB each; none on an accelerator, or if the network was not loaded.
            options: how text is found; None for the defaults.
        """
        if self._directory is None or self.device.type != "cpu":
            return Helpers.none()
        options, exact = options or DecodingOptions(), self.dtype == torch.float32
        prepare = partial(_helper, self._directory, self._language_directory, options, exact)
        return Helpers(prepare, count)

    def align(
        self, source: Source, text: str, batch_size: int = 32, audio: AudioOptions | None = None
    ) -> Transcript:
        """Find where the words of a known text are said in a recording of any length.

        All of the text should be said, and little else; the transcript's `score` tells whether it is. The
        words come back as they were given, with case, punctuation, figures and signs, and a segment is a line
        of the text. Beside the text, an hour of speech takes some 250 MB.

        Args:
            source: a recording as in `transcribe`.
            text: what is said in it.
            batch_size: segments that go through the network together, at most.
            audio: which sound of the recording is heard; channels are mixed.

        Raises:
            InputError: if the recording cannot be read, nobody speaks in it, or the text has no letters or
                more than could be said in it.
        """
        ((_, result),) = self.align_all([(source, text)], batch_size, audio)
        if isinstance(result, InputError):
            raise result
        return result

    def align_all(
        self,
        recordings: Iterable[tuple[Source, str]],
        batch_size: int = 32,
        audio: AudioOptions | None = None,
    ) -> Generator[tuple[int, Transcript | InputError], None, None]:
        """As `align` any number of recordings, each with its text; as `transcribe_all`, many together.

        Yields:
            As soon as a recording is done: its number, and where its words are said or why that cannot be
            found.
        """
        # Of each recording that is read: its number, its name, and its text.
        known: list[tuple[int, str, OriginalText]] = []
        textless: list[tuple[int, str]] = []
        mixed = None if audio is None else replace(audio, split_channels=False)

        def sources() -> Iterator[Source]:
            for number, (source, given) in enumerate(recordings):
                text = OriginalText(given)
                if text.normalized:
                    known.append((number, source_name(source), text))
                    yield source
                else:
                    textless.append((number, source_name(source)))

        def pieces_of(batch: Sequence[Heard]) -> list[Piece]:
            # A copy: the whole batch would otherwise be kept for each of its pieces.
            return [replace(piece, log_probs=piece.log_probs.clone()) for piece in self._hear(batch)]

        items = read_all(sources(), self.log_mel, self.detector(), mixed)
        for position, recording in hear_all(items, pieces_of, batch_size, Helpers.none()):
            number, name, text = known[position]
            yield number, recording.result(partial(self._aligned, name, text))
        for number, name in textless:
            yield number, InputError(name, "its text has no letters: there is nothing to find")

    def _aligned(
        self, name: str, text: OriginalText, pieces: list[Piece], _: list[int | None], duration: float
    ) -> Transcript:
        """Where a text is said in the pieces of a recording."""
        if not pieces:
            raise InputError(name, "nobody speaks in it: there is nothing to find the text in")
        symbols = self.subwords.encode(text.normalized)
        if steps_needed(symbols) > sum(len(piece.log_probs) for piece in pieces):
            spoken = sum(piece.seconds for piece in pieces)
            count = len(self.subwords.decode(symbols).split())
            reason = f"a text of {count} words cannot be said in its {spoken:.1f} s of speech"
            raise InputError(name, f"{reason}; is it the right one?")
        words = align_pieces(pieces, symbols, self.subwords, duration, self.network.config.step_seconds)
        return text.placed(words, duration, score=fit(text.normalized, pieces, self.subwords))

    def stream(self, options: DecodingOptions | None = None) -> Stream:
        """Transcribe sound while it is being recorded; see `speech.stream.Stream`.

        Text that may still change is found greedily, whatever the options: it is sought several times a
        second. A grammar holds for it too.
        """
        final = options or DecodingOptions()
        early = replace(final, beam=1, hotwords=())
        self.decoder(final)

        def hear(samples: Tensor, is_final: bool) -> tuple[Word, ...]:
            segment = Heard(0, 0, 0.0, self.log_mel(samples), len(samples) / SAMPLE_RATE)
            return self.words([segment], final if is_final else early)[0]

        return Stream(hear, self.detector())

    @torch.inference_mode()
    def loudness(self, source: Source) -> Tensor:
        """The log-mel picture of a recording: (frames, mels) in decibels, low pitches first.

        Arguments as in `transcribe`.

        Raises:
            InputError: if the file cannot be read or holds no sound.
        """
        samples = clean(source) if isinstance(source, Tensor) else load_audio(source)
        require_sound(samples, source_name(source))
        return self.log_mel.decibels(samples)

    @torch.inference_mode()
    def emissions(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What the network hears in each step.

        In bfloat16 where the processor is much faster in it, otherwise in float32. What is heard in a
        recording does not depend on those beside it, but for rounding in float32.

        Args:
            features: (frames, mels) of each recording, as `log_mel` gives them.

        Returns:
            Log-probabilities (batch, steps, symbols) and the steps of each recording (batch,).
        """
        count = len(features)
        fast = self.dtype != torch.float32
        if fast and count == 1:
            features = [*features, *features]  # PyTorch rounds one alone in another order than several
        lengths = torch.tensor([len(one) for one in features])
        padded = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True)
        with torch.autocast("cpu", self.dtype, enabled=fast):
            log_probs, steps = self.network(padded.to(self.device), lengths.to(self.device))
        return log_probs[:count].cpu(), steps[:count].cpu()

    def decoder(self, options: DecodingOptions) -> Decoder:
        """What finds the text; the last two are kept, because they can be costly to make.

        Raises:
            InputError: if an option names what cannot be used.
        """
        if options not in self._decoders:
            model = self.language_model if options.searches_words else None
            lexicon = None
            if model is not None:
                spelled = model.spelled(self.subwords) if isinstance(model, NgramModel) else None
                words = model.vocabulary[len(SPECIAL) :]
                lexicon = Lexicon(dict.fromkeys(words, 0.0), self.subwords, spelled)
            decoder = Decoder(options, self.subwords, lexicon, model)
            self._decoders = dict([*self._decoders.items(), (options, decoder)][-2:])
        return self._decoders[options]

    @cached_property
    def language_model(self) -> LanguageModel | NgramModel | None:
        """What knows which word comes next; None if the model has none.

        Raises:
            InputError: if it cannot be read.
        """
        directory = self._language_directory
        if directory is None:
            return None
        return load_ngram_model(directory) if is_ngram_model(directory) else load_language_model(directory)

    def detector(self) -> SpeechDetector:
        """What tells speech from everything else; loaded once.

        Raises:
            InputError: if the package that carries it is missing.
        """
        if self._detector is None:
            self._detector = SpeechDetector.load()
        return self._detector

    @torch.inference_mode()
    def words(self, batch: Sequence[Heard], options: DecodingOptions) -> list[tuple[Word, ...]]:
        """The words of each segment of a batch, with their times in the recording."""
        pieces = self._hear(batch)
        decoder = self.decoder(options)
        if decoder.is_greedy:
            paths = [piece.log_probs.argmax(dim=-1).tolist() for piece in pieces]
        else:
            texts = decoder.all([piece.log_probs for piece in pieces])
            paths = [
                forced_path(piece.log_probs, least_wrong(found).symbols)
                for piece, found in zip(pieces, texts, strict=True)
            ]
        step_seconds = self.network.config.step_seconds
        return [
            words_of_path(path, piece, self.subwords, step_seconds)
            for path, piece in zip(paths, pieces, strict=True)
        ]

    def _hear(self, batch: Sequence[Heard]) -> list[Piece]:
        """What the network hears in each segment of a batch."""
        log_probs, steps = self.emissions([one.features for one in batch])
        hop_seconds = self.network.config.features.hop_seconds
        return [
            Piece(
                one.start_seconds,
                one.sound_seconds,
                emissions[:length],
                Quiet.of(one.features, hop_seconds),
            )
            for one, emissions, length in zip(batch, log_probs, steps.tolist(), strict=True)
        ]


def _helper(
    model: Path, language_model: Path | None, options: DecodingOptions, exact: bool
) -> Callable[[Sequence[Heard]], Timed[tuple[Word, ...]]]:
    """What recognises in another process."""
    recognizer = Recognizer.load(model, language_model=language_model, exact=exact)
    recognizer.decoder(options)  # reads the words now and not with the first batch
    return partial(timed, partial(recognizer.words, options=options))
