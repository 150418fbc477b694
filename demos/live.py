"""Live text on the page: what the browser's microphone sends becomes text while somebody speaks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from speech import DecodingOptions, Recognizer, Stream, Update


@dataclass
class LiveText:
    """One person's live text, from the first sound to the last.

    Attributes:
        stream: that hears it.
        said: what does not change any more.
        heard: what may still change.
    """

    stream: Stream
    said: list[str] = field(default_factory=list)
    heard: str = ""

    @property
    def text(self) -> str:
        """All that was said so far, a line for each stretch between pauses."""
        return "\n".join([*self.said, *([f"{self.heard} …"] if self.heard else [])])

    def feed(self, sample_rate: int, samples: NDArray[np.int16 | np.int32 | np.float32]) -> str:
        """Take what the browser sends: samples (samples,) or (samples, channels), mostly 16-bit."""
        loudest = np.iinfo(samples.dtype.name).max if samples.dtype.kind == "i" else 1.0
        mono = samples.reshape(len(samples), -1).mean(axis=1, dtype=np.float32) / np.float32(loudest)
        return self._take(self.stream.feed(torch.from_numpy(mono), sample_rate))

    def finish(self) -> str:
        """Say what was not yet said."""
        return self._take(self.stream.finish())

    def _take(self, updates: list[Update]) -> str:
        for update in updates:
            self.heard = "" if update.final else update.text
            if update.final:
                self.said.append(update.text)
        return self.text


Chunk = tuple[int, NDArray[np.int16 | np.int32 | np.float32]]


def hear(
    recognizer: Recognizer, options: DecodingOptions | None, chunk: Chunk | None, live: LiveText | None
) -> tuple[LiveText | None, str]:
    """One more piece from the browser, which begins a new text if there is none."""
    if chunk is None:
        return live, live.text if live is not None else ""
    live = live or LiveText(recognizer.stream(options))
    return live, live.feed(*chunk)


def stop(live: LiveText | None) -> tuple[None, str]:
    """The microphone was stopped: the whole text, and nothing to go on with."""
    return None, live.finish() if live is not None else ""
