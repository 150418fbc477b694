"""A speech recogniser that runs offline on a CPU: recordings become text.

from speech import Recognizer
print(Recognizer.load().transcribe("talk.mp3").text)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.errors import InputError
    from speech.alignment import Word
    from speech.options import DecodingOptions
    from speech.recognizer import Recognizer, Transcript

__all__ = ["DecodingOptions", "InputError", "Recognizer", "Transcript", "Word"]


def __getattr__(name: str) -> object:
    """Import the public names when they are first asked for: `import speech` alone costs nothing."""
    if name in __all__:
        from common.command import check_builds

        check_builds("torchaudio")
        from speech import recognizer

        return getattr(recognizer, name)
    raise AttributeError(f"module 'speech' has no attribute {name!r}")
