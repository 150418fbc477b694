"""Live text on the page: what the browser's microphone sends becomes text while somebody speaks.

The browser numbers its chunks and sends the next one when the last one was answered: none is lost, however
long an answer takes, and one that is sent again counts once.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speech import DecodingOptions, Recognizer, Stream, Update

MOST_TEXTS = 16  # that are live at once; of more, the one that was silent for longest is forgotten

_MOST_CHARACTERS = 16_000_000  # of one chunk: minutes of sound
_RATES = range(1000, 384_001)  # hertz


@dataclass
class LiveText:
    """One person's live text, from the first sound to the last.

    Attributes:
        stream: that hears it.
        said: what does not change any more.
        heard: what may still change.
        chunks: that were heard.
        lock: held while a chunk is heard.
    """

    stream: Stream
    said: list[str] = field(default_factory=list)
    heard: str = ""
    chunks: int = 0
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
            self._take(self.stream.feed(torch.from_numpy(samples / np.float32(32768)), sample_rate))
        return self.text

    def finish(self) -> str:
        """Say what was not yet said."""
        self._take(self.stream.finish())
        return self.text

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
    """

    def __init__(self, recognizer: Recognizer, options: DecodingOptions | None = None) -> None:
        self._recognizer = recognizer
        self._options = options
        self._texts: OrderedDict[str, LiveText] = OrderedDict()
        self._lock = threading.Lock()

    def hear(self, chunk: dict[str, Any]) -> dict[str, str]:
        """One more chunk from the browser.

        Args:
            chunk: `session` (a text of its own for each recording), `number` (from 0), `rate` (hertz) and
                `samples`, 16-bit little-endian in Base64.

        Returns:
            `text`: all that was said so far; or `error`: why it cannot go on.
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
                return {"text": live.feed(number, rate, samples)}
            except ValueError:
                return {"error": "The connection was interrupted. Please start the microphone again."}

    def stop(self, session: str) -> dict[str, str]:
        """The microphone was stopped: the whole text, and nothing to go on with."""
        with self._lock:
            live = self._texts.pop(str(session), None)
        if live is None:
            return {"text": ""}
        with live.lock:
            return {"text": live.finish()}

    def _live(self, session: str) -> LiveText:
        """The text of a session, which begins if there is none."""
        with self._lock:
            live = self._texts.get(session) or LiveText(self._recognizer.stream(self._options))
            self._texts[session] = live
            self._texts.move_to_end(session)
            if len(self._texts) > MOST_TEXTS:
                self._texts.popitem(last=False)
            return live
