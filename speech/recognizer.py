"""The whole recogniser: recordings of any length become transcripts.

from speech import Recognizer
print(Recognizer.load().transcribe("talk.mp3").text)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from common.commands.processes import Helpers
from common.errors import InputError
from common.models.files import find_model, read_model
from speech.acoustic import AcousticModel
from speech.aligner import align_all
from speech.bundled import BUNDLED
from speech.model.network import SpeechNetwork, network_from_model
from speech.model.subwords import Subwords
from speech.options import DecodingOptions
from speech.pipeline import Timed, process_segments, timed
from speech.placing.alignment import Word
from speech.pool import SegmentFeatures
from speech.reading import read_all
from speech.sound.audio import SAMPLE_RATE, AudioOptions, load_audio, require_sound
from speech.sound.detector import SpeechDetector
from speech.sound.segments import clean
from speech.sources import Source, mono, opened, source_name
from speech.stream import Stream
from speech.transcript import Transcript, joined
from speech.word_finder import WordFinder

WordHelpers = Helpers[Sequence[SegmentFeatures], Timed[tuple[Word, ...]]]

# Folders in a model directory: of the language model, and of the one that judges once more what was found.
LANGUAGE, JUDGE = "language", "judge"


class Recognizer:
    """A trained model with all that it needs to be asked.

    Args:
        network: the acoustic model's.
        name: the model's name, as it is reported.
        device: where it runs.
        language_model: directory of the model that knows its words and which follows which; None if any
            letters may be written. It is read when it is first needed.
        directory: where the network was read from, and helpers read it again; None if it was not.
        exact: whether the network computes in float32 also where the processor is much faster in bfloat16.
        judge: directory of the recurrent language model that judges once more what was found; None for none.
    """

    def __init__(
        self,
        network: SpeechNetwork,
        name: str,
        device: str | torch.device = "cpu",
        language_model: Path | None = None,
        directory: Path | None = None,
        exact: bool = False,
        judge: Path | None = None,
    ) -> None:
        self.acoustic = AcousticModel(network, device, exact)
        self.finder = WordFinder(self.acoustic, language_model, judge)
        self.name = name
        self._directory = directory
        self._detector: SpeechDetector | None = None

    @classmethod
    def load(
        cls,
        model: str | Path = "english",
        device: str = "cpu",
        threads: int = 1,
        language_model: str | Path | None = None,
        exact: bool = False,
    ) -> Recognizer:
        """Load a bundled model by its name, or any model directory.

        Args:
            model: "english", or the path of a model directory.
            device: where PyTorch runs it: "cpu", "cuda", "mps".
            threads: PyTorch's threads, for the whole process; 0 leaves its own choice. One is the fastest for
                a recording; for many, see `helpers`.
            language_model: directory of a language model, as `speech train-lm` writes it; None for the one
                that lies in the model directory, if one does.
            exact: whether the network computes in float32 on every processor. Otherwise it does so in
                bfloat16 where that is about twice as fast; texts then differ now and then, and are as often
                right.

        Raises:
            InputError: if there is no such model or it cannot be read.
        """
        if threads:
            torch.set_num_threads(threads)
        directory = find_model(model, BUNDLED)
        network = network_from_model(*read_model(directory), directory)
        try:
            Subwords(network.config.symbols)
        except ValueError as error:
            raise InputError(directory, f"is not a recogniser that writes subwords: {error}") from error
        own = directory / LANGUAGE
        language = own if language_model is None and own.is_dir() else language_model
        language = None if language is None else Path(language)
        judge = directory / JUDGE
        return cls(
            network, directory.name, device, language, directory, exact, judge if judge.is_dir() else None
        )

    def transcribe(
        self,
        source: Source,
        options: DecodingOptions | None = None,
        audio: AudioOptions | None = None,
        sample_rate: int = SAMPLE_RATE,
    ) -> Transcript:
        """Transcribe one recording of any length.

        Args:
            source: the path of a sound or video file in any usual container, an open binary file, a file's
                bytes, or samples: a NumPy array or a tensor, (samples,), (channels, samples) or (samples,
                channels), floating-point from -1 to 1 or 16- or 32-bit integers. Those that are no finite
                numbers count as 0.
            options: how text is found; None for the defaults.
            audio: which sound of the recording is heard; None for the default track, channels mixed.
            sample_rate: of samples, in Hz; files say their own.

        Returns:
            What was said; an empty transcript if nobody speaks, with a warning if nothing was recorded.

        Raises:
            InputError: if the file cannot be read or holds no samples at all.
            TypeError, ValueError: if the source is nothing of these, or the rate is below 1 kHz.
        """
        return self.transcribe_batch([source], options, audio, sample_rate)[0]

    def transcribe_batch(
        self,
        sources: Sequence[Source],
        options: DecodingOptions | None = None,
        audio: AudioOptions | None = None,
        sample_rate: int = SAMPLE_RATE,
    ) -> list[Transcript]:
        """Transcribe recordings together: for many short ones several times faster than one by one.

        Raises:
            InputError: if a recording cannot be read or holds no samples at all.
        """
        transcripts: dict[int, Transcript] = {}
        for number, result, _ in self.transcribe_all(sources, options, audio=audio, sample_rate=sample_rate):
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
        sample_rate: int = SAMPLE_RATE,
    ) -> Generator[tuple[int, Transcript | InputError, Mapping[str, float]], None, None]:
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
            sample_rate: of sources that are samples, in Hz.

        Yields:
            As soon as a recording is done: its number, what was said in it or why it cannot be read, and the
            seconds that it took by stage (`speech.options.STAGES`), those of helpers included.
        """
        options = options or DecodingOptions()
        self.finder.decoder(options)  # what cannot be used is said before anything is read

        def words_of(batch: Sequence[SegmentFeatures]) -> list[tuple[Word, ...]]:
            return self.finder.words(batch, options)

        helpers = helpers or Helpers.none()
        items = read_all(sources, self.acoustic.log_mel, self.detector(), audio, sample_rate)
        for number, recording in process_segments(items, words_of, batch_size, helpers, progress):
            yield number, recording.result(joined), recording.stages

    def helpers(self, count: int, options: DecodingOptions | None = None) -> WordHelpers:
        """Processes that recognise beside this one; see `common.commands.processes.Helpers`, and close them.

        A script that uses them does its work under `if __name__ == "__main__"`, because they import it.

        Args:
            count: of processes, some 400 MB each; none on an accelerator, or if the network was not loaded.
            options: how text is found; None for the defaults.
        """
        if self._directory is None or self.acoustic.device.type != "cpu":
            return Helpers.none()
        options, exact = options or DecodingOptions(), self.acoustic.dtype == torch.float32
        prepare = partial(_helper, self._directory, self.finder.directory, options, exact)
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
        yield from align_all(self.acoustic, self.detector(), recordings, batch_size, audio)

    def stream(self, options: DecodingOptions | None = None) -> Stream:
        """Transcribe sound while it is being recorded; see `speech.stream.Stream`.

        Text that may still change is found greedily, whatever the options: it is sought several times a
        second. A grammar holds for it too.
        """
        final = options or DecodingOptions()
        early = replace(final, beam=1, hotwords=())
        self.finder.decoder(final)

        def words_of(samples: Tensor, is_final: bool) -> tuple[Word, ...]:
            features = self.acoustic.log_mel(samples)
            segment = SegmentFeatures(0, 0, 0.0, features, len(samples) / SAMPLE_RATE)
            return self.finder.words([segment], final if is_final else early)[0]

        return Stream(words_of, self.detector())

    @torch.inference_mode()
    def loudness(self, source: Source) -> Tensor:
        """The log-mel picture of a recording: (frames, mels) in decibels, low pitches first.

        Arguments as in `transcribe`.

        Raises:
            InputError: if the file cannot be read or holds no sound.
        """
        found = opened(source)
        samples = clean(mono(found)) if isinstance(found, Tensor) else load_audio(found)
        require_sound(samples, source_name(source))
        return self.acoustic.log_mel.decibels(samples)

    def detector(self) -> SpeechDetector:
        """What tells speech from everything else; loaded once.

        Raises:
            InputError: if the package that carries it is missing.
        """
        if self._detector is None:
            self._detector = SpeechDetector.load()
        return self._detector


def _helper(
    model: Path, language_model: Path | None, options: DecodingOptions, exact: bool
) -> Callable[[Sequence[SegmentFeatures]], Timed[tuple[Word, ...]]]:
    """What recognises in another process."""
    recognizer = Recognizer.load(model, language_model=language_model, exact=exact)
    recognizer.finder.decoder(options)  # reads the words now and not with the first batch
    return partial(timed, partial(recognizer.finder.words, options=options))
