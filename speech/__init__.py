"""A speech recogniser that runs offline on a CPU: recordings become text.

from speech import Recognizer
print(Recognizer.load().transcribe("talk.mp3").text)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from common.errors import InputError, OptionError, SuiteError
    from speech.bundled import available_models
    from speech.language.recurrent import LanguageModel
    from speech.options import DecodingOptions
    from speech.placing.alignment import Word
    from speech.recognizer import Recognizer
    from speech.sound.audio import AudioOptions, load_audio, read_audio
    from speech.sound.segments import recording_seconds
    from speech.stream import Stream, Update
    from speech.transcript import Segment, Transcript

_ROOMS = {
    "AudioOptions": "speech.sound.audio",
    "DecodingOptions": "speech.options",
    "InputError": "common.errors",
    "LanguageModel": "speech.language.recurrent",
    "OptionError": "common.errors",
    "Recognizer": "speech.recognizer",
    "Segment": "speech.transcript",
    "Stream": "speech.stream",
    "SuiteError": "common.errors",
    "Transcript": "speech.transcript",
    "Update": "speech.stream",
    "Word": "speech.placing.alignment",
    "available_models": "speech.bundled",
    "load_audio": "speech.sound.audio",
    "read_audio": "speech.sound.audio",
    "recording_seconds": "speech.sound.segments",
}

# What needs no PyTorch.
_LIGHT = {"common.errors", "speech.bundled", "speech.options"}

# What needs no PyTorch.
_LIGHT = {"common.errors", "speech.bundled", "speech.options"}

__all__ = [
    "AudioOptions",
    "DecodingOptions",
    "InputError",
    "LanguageModel",
    "OptionError",
    "Recognizer",
    "Segment",
    "Stream",
    "SuiteError",
    "Transcript",
    "Update",
    "Word",
    "__version__",
    "available_models",
    "load_audio",
    "read_audio",
    "recording_seconds",
]


def __getattr__(name: str) -> object:
    """Import the public names when they are first asked for: `import speech` alone costs nothing."""
    if name == "__version__":
        from common.commands.command import SUITE, installed_version

        return installed_version(SUITE)
    if name in _ROOMS:
        if _ROOMS[name] not in _LIGHT:
            from common.commands.command import check_builds

            check_builds("torchaudio")
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'speech' has no attribute {name!r}")
