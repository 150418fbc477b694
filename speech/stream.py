"""Sound becomes text while it is being recorded.

stream = Recognizer.load().stream()
for chunk in microphone:
    for update in stream.feed(chunk):
        print(update.text, "" if update.final else "...")
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError
from speech.placing.alignment import Word
from speech.sound.audio import SAMPLE_RATE, AudioReader, Resampler, is_rate
from speech.sound.detector import Detector
from speech.sound.formats import HEAD_BYTES, begins_a_file
from speech.sound.segments import SoundSegment, SplitOptions, Splitter, clean
from speech.sources import Samples, to_samples

# The unfinished segment is read again when it has grown by the larger of the two: some seconds, a share of
# its length. The share bounds the cost of long speech without pauses: its sound is read 20 times at most.
UPDATE_SECONDS = 0.4
UPDATE_SHARE = 0.05


@dataclass(frozen=True)
class Update:
    """What was heard since the last final text.

    Attributes:
        text: the words; of a text that is not final, it may be empty, where what was heard was none.
        final: nothing of it changes any more, and the next update is about what follows.
        words: each word with its time since the stream began and its confidence.
    """

    text: str
    final: bool
    words: tuple[Word, ...]


class Stream:
    """One live recording; `Recognizer.stream` makes it.

    The network reads in both directions, so a word is sure only when what follows it was heard. Therefore the
    unfinished segment is read anew, from its start, every 0.4 s (every second, when somebody speaks for 20 s
    without a pause), and its text is given as not final. Nothing of the backward direction outlives a
    reading. A segment ends, and its text is final, 0.64 s after the last word, or after 20 s in its longest
    pause: the cuts are those of a file, and so is the text.

    Latency, of `speech evaluate dev-an4.tsv --live` on one core: half of the words stand where they stay
    0.36 s after they were said, nine in ten after 1.5 s (0.8 s with a beam of 1; others are corrected by
    the language model). The last word of a segment is final 0.86 s after it: the pause, and the reading. A
    reading takes 5 to 10 ms for each second of the segment.

    Args:
        words_of: (samples,) of a segment and whether its text is final -> its words, with times from its
            start.
        detector: what says where speech is.
        options: where to cut.
    """

    def __init__(
        self,
        words_of: Callable[[Tensor, bool], tuple[Word, ...]],
        detector: Detector,
        options: SplitOptions | None = None,
    ) -> None:
        self._words_of = words_of
        self._splitter = Splitter(detector, options)
        self._resampler = Resampler()
        self._read = 0  # samples of the unfinished segment that were read last
        self._shown = ""  # the text that is not final

    def feed(self, chunk: Samples, sample_rate: int = SAMPLE_RATE) -> list[Update]:
        """Take the next samples.

        Args:
            chunk: (samples,) mono, a NumPy array or a tensor, floating-point from -1 to 1 or 16- or 32-bit
                integers, as many as there are; those that are no finite numbers count as 0.
            sample_rate: of the chunk; another than 16 kHz is resampled.

        Returns:
            What is new, in order: final texts, and perhaps one that is not.

        Raises:
            TypeError: if the samples are of another type.
            ValueError: if the chunk is not one-dimensional or no sound has this rate.
        """
        if chunk.ndim != 1:
            raise ValueError(f"a chunk has one dimension, not {chunk.ndim}")
        if not is_rate(sample_rate):
            raise ValueError(f"a sample rate of {sample_rate} Hz is no sound")
        updates = self._final(
            self._splitter.feed(self._resampler.feed(clean(to_samples(chunk)).numpy(), sample_rate))
        )
        segment = self._splitter.open
        if segment is not None:
            updates += self._partial(segment)
        return updates

    def finish(self) -> list[Update]:
        """The final texts of what is left when the recording has ended; nothing can be fed any more."""
        segments = self._splitter.feed(self._resampler.drain()) + self._splitter.finish()
        return self._final(segments)

    def _final(self, segments: list[SoundSegment]) -> list[Update]:
        """What is said in whole segments."""
        updates = []
        for segment in segments:
            self._read = 0
            update = self._heard(segment, True)
            if update.text:
                self._shown = ""
                updates.append(update)
        if self._shown and self._splitter.open is None:  # what looked like words was none
            self._read, self._shown = 0, ""
            updates.append(Update("", False, ()))
        return updates

    def _partial(self, segment: SoundSegment) -> list[Update]:
        """What is said so far in the unfinished segment, if there is something new."""
        length = len(segment.samples)
        if length - self._read < max(UPDATE_SECONDS * SAMPLE_RATE, UPDATE_SHARE * length):
            return []
        self._read = length
        update = self._heard(segment, False)
        if update.text == self._shown:
            return []
        self._shown = update.text
        return [update]

    def _heard(self, segment: SoundSegment, final: bool) -> Update:
        """What is said in a segment."""
        start = segment.start_seconds
        words = self._words_of(segment.samples, final)
        moved = tuple(replace(word, start=word.start + start, end=word.end + start) for word in words)
        return Update(" ".join(word.text for word in words), final, moved)


def piped(file: BinaryIO) -> Iterator[Tensor]:
    """What comes through a pipe, as it comes: (samples,) float32 at 16 kHz.

    What begins as a sound file does (mp3, wav, ogg, flac, webm ...) is read as one; everything else is raw
    sound, 16-bit little-endian mono samples at 16 kHz.

    Raises:
        InputError: if it begins as a sound file but cannot be read as one.
    """
    read = getattr(file, "read1", file.read)  # it gives what is there, and waits only where nothing is
    head = b""
    while len(head) < HEAD_BYTES and (data := read(HEAD_BYTES - len(head))):
        head += data
    if begins_a_file(head):
        for piece in AudioReader(cast(BinaryIO, _Pipe(head, file)), piece_seconds=0.0):
            yield piece[0]
        return
    data, odd = head, b""
    while data:
        data = odd + data
        whole = len(data) // 2 * 2
        odd = data[whole:]
        yield _samples(data[:whole])
        data = read(1 << 16)


class _Pipe:
    """A pipe of which the beginning was read already; FFmpeg reads it and cannot go back.

    Args:
        head: what was read.
        rest: the pipe.
    """

    name = "-"

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        read = getattr(self._rest, "read1", self._rest.read)
        return bytes(read(size))

    def seekable(self) -> bool:
        """Whether one can go back."""
        return False


def microphone() -> Iterator[Tensor]:
    """What the microphone hears, until it is interrupted: (samples,) float32 at 16 kHz.

    Raises:
        InputError: if the package `sounddevice` or a microphone is missing.
    """
    pipe = "or pipe sound in: arecord -t raw -f S16_LE -r 16000 | speech listen -"
    try:
        sounddevice = import_module("sounddevice")
    except ImportError as error:
        reason = f"needs the package sounddevice: pip install sounddevice; {pipe}"
        raise InputError("microphone", reason) from error
    except OSError as error:  # the package is there, and the library that it wraps is not
        raise InputError("microphone", f"cannot be used ({error}); {pipe}") from error
    heard: queue.Queue[bytes] = queue.Queue()

    def take(data: bytes, *_: object) -> None:
        heard.put(bytes(data))

    try:
        with sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE, channels=1, dtype="int16", blocksize=SAMPLE_RATE // 10, callback=take
        ):
            while True:
                yield _samples(heard.get())
    except sounddevice.PortAudioError as error:
        raise InputError("microphone", f"cannot be used ({error}); {pipe}") from error


def _samples(data: bytes) -> Tensor:
    """16-bit little-endian samples as (samples,) float32, -1 to 1."""
    return torch.from_numpy(np.frombuffer(data, "<i2").astype(np.float32) / 32768)
