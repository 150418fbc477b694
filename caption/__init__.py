"""An image captioner that runs offline on a CPU: photographs become sentences.

from caption import Captioner
print(Captioner.load().describe("photo.jpg").text)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from caption.bundled import available_models
    from caption.captioner import Caption, Captioner
    from caption.images import open_image
    from caption.options import DescribeOptions
    from caption.output.attention import Glance, light
    from common.errors import InputError, OptionError, SuiteError

_ROOMS = {
    "available_models": "caption.bundled",
    "Caption": "caption.captioner",
    "Captioner": "caption.captioner",
    "DescribeOptions": "caption.options",
    "Glance": "caption.output.attention",
    "InputError": "common.errors",
    "OptionError": "common.errors",
    "SuiteError": "common.errors",
    "light": "caption.output.attention",
    "open_image": "caption.images",
}

# What needs no PyTorch.
_LIGHT = {"common.errors", "caption.bundled", "caption.options"}

# What needs no PyTorch.
_LIGHT = {"common.errors", "caption.bundled", "caption.options"}

__all__ = [
    "Caption",
    "Captioner",
    "DescribeOptions",
    "Glance",
    "InputError",
    "OptionError",
    "SuiteError",
    "__version__",
    "available_models",
    "light",
    "open_image",
]


def __getattr__(name: str) -> object:
    """Import the public names when they are first asked for: `import caption` alone costs nothing."""
    if name == "__version__":
        from common.commands.command import SUITE, installed_version

        return installed_version(SUITE)
    if name in _ROOMS:
        if _ROOMS[name] not in _LIGHT:
            from common.commands.command import check_builds

            check_builds("torchvision")
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'caption' has no attribute {name!r}")
