"""Live text on the page: what the browser's microphone sends becomes text while somebody speaks.

The browser numbers its chunks and sends the next one when the last one was answered: none is lost, however
long an answer takes, and one that is sent again counts once. What was heard is kept as a WAV file, so that it
can be played and looked at when the microphone is off.
"""

from __future__ import annotations

import base64
import binascii
import threading
import wave
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speech import DecodingOptions, Recognizer, Stream, Update

MOST_TEXTS = 32  # that are live at once; of more, the one that was silent for longest is forgotten
MOST_SECONDS = 1800.0  # of one live text; its microphone is then switched off

_MOST_CHARACTERS = 16_000_000  # of one chunk: minutes of sound
_RATES = range(1000, 384_001)  # hertz


@dataclass
class LiveText:
    """One person's live text, from the first sound to the last.

    Attributes:
        stream: that hears it.
        path: of the WAV file that keeps the sound; None if nothing does.
        said: what does not change any more.
        heard: what may still change.
        chunks: that were heard.
        seconds: of sound that were heard.
        lock: held while a chunk is heard.
    """

    stream: Stream
    path: Path | None = None
    said: list[str] = field(default_factory=list)
    heard: str = ""
    chunks: int = 0
    seconds: float = 0.0
    file: wave.Wave_write | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def text(self) -> str:
        """All that was said so far, a line for each stretch between pauses."""
        return "\n".join([*self.said, *([f"{self.heard} …"] if self.heard else [])])

    def feed(self, number: int, sample_rate: int, samples: NDArray[np.int16]) -> str:
        """Take a chunk (samples,) of 16 bits.

        Args:
            number: of the chunk, from 0; one that was heard already is passed over.
            sample_rate: of the chunk.
            samples: what it holds.

        Raises:
            ValueError: if chunks before it are missing.
        """
        if number > self.chunks:
            raise ValueError(f"chunk {self.chunks} is missing before chunk {number}")
        if number == self.chunks:
            self.chunks += 1
            self._keep(sample_rate, samples)
            self._take(self.stream.feed(torch.from_numpy(samples / np.float32(32768)), sample_rate))
        return self.text

    def finish(self) -> str:
        """Say what was not yet said."""
        self.close()
        self._take(self.stream.finish())
        return self.text

    def close(self) -> None:
        """End the file."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def _keep(self, sample_rate: int, samples: NDArray[np.int16]) -> None:
        """Write a chunk to the file, which begins with the first."""
        self.seconds += len(samples) / sample_rate
        if self.file is None and self.path is not None and self.chunks == 1:
            self.file = wave.open(str(self.path), "wb")  # noqa: SIM115 - it stays open while somebody speaks
            self.file.setnchannels(1)
            self.file.setsampwidth(2)
            self.file.setframerate(sample_rate)
        if self.file is not None:
            self.file.writeframes(samples.tobytes())

    def _take(self, updates: list[Update]) -> None:
        for update in updates:
            self.heard = "" if update.final else update.text
            if update.final:
                self.said.append(update.text)


class LiveTexts:
    """The live texts of all who have the page open.

    Args:
        recognizer: that hears them.
        options: how text is found.
        folder: where the sound is kept; None if it is not.
    """

    def __init__(
        self, recognizer: Recognizer, options: DecodingOptions | None = None, folder: Path | None = None
    ) -> None:
        self._recognizer = recognizer
        self._options = options
        self._folder = folder
        self._stopped: OrderedDict[str, tuple[str, Path | None]] = OrderedDict()
        self._texts: OrderedDict[str, LiveText] = OrderedDict()
        self._lock = threading.Lock()

    def hear(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """One more chunk from the browser.

        Args:
            chunk: `session` (a text of its own for each recording), `number` (from 0), `rate` (hertz) and
                `samples`, 16-bit little-endian in Base64.

        Returns:
            `text`: all that was said so far, and `full`: whether no more fits; or `error`: why it cannot go
            on.
        """
        try:
            session, number, rate = str(chunk["session"]), int(chunk["number"]), int(chunk["rate"])
            data = str(chunk["samples"])
            if rate not in _RATES or len(data) > _MOST_CHARACTERS:
                raise ValueError("no microphone sends such a chunk")
            samples = np.frombuffer(base64.b64decode(data, validate=True), "<i2")
        except (KeyError, TypeError, ValueError, binascii.Error):
            return {"error": "What the microphone sent cannot be understood."}
        live = self._live(session)
        with live.lock:
            try:
                text = live.feed(number, rate, samples)
                return {"text": text, "full": live.seconds >= MOST_SECONDS}
            except ValueError:
                return {"error": "The connection was interrupted. Please start the microphone again."}

    def stop(self, session: str) -> dict[str, str]:
        """The microphone was stopped: the whole text. Asked again, it says the same."""
        session = str(session)
        with self._lock:
            live = self._texts.pop(session, None)
            if live is None:
                return {"text": self._stopped.get(session, ("", None))[0]}
        with live.lock:
            text = live.finish()
        with self._lock:
            self._stopped[session] = text, live.path if live.seconds > 0.0 else None
            if len(self._stopped) > MOST_TEXTS:
                self._stopped.popitem(last=False)
        return {"text": text}

    def recording(self, session: str) -> Path | None:
        """The sound of a live text that was stopped; None if there is none any more."""
        with self._lock:
            return self._stopped.get(str(session), ("", None))[1]

    def _live(self, session: str) -> LiveText:
        """The text of a session, which begins if there is none."""
        with self._lock:
            live = self._texts.get(session)
            if live is None:
                live = LiveText(self._recognizer.stream(self._options), self._place())
            self._texts[session] = live
            self._texts.move_to_end(session)
            forgotten = self._texts.popitem(last=False)[1] if len(self._texts) > MOST_TEXTS else None
        if forgotten is not None:
            with forgotten.lock:
                forgotten.close()
        return live

    def _place(self) -> Path | None:
        """Where the next recording goes."""
        if self._folder is None:
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        return Path(mkdtemp(dir=self._folder)) / "microphone.wav"
