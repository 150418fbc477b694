"""An image captioner that runs offline on a CPU: photographs become sentences.

from caption import Captioner
print(Captioner.load().describe("photo.jpg").text)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caption.captioner import Caption, Captioner
    from caption.images import open_image
    from caption.options import DescribeOptions
    from caption.output.attention import Glance, light
    from common.errors import InputError

_ROOMS = {
    "Caption": "caption.captioner",
    "Captioner": "caption.captioner",
    "DescribeOptions": "caption.options",
    "Glance": "caption.output.attention",
    "InputError": "common.errors",
    "light": "caption.output.attention",
    "open_image": "caption.images",
}

__all__ = ["Caption", "Captioner", "DescribeOptions", "Glance", "InputError", "light", "open_image"]


def __getattr__(name: str) -> object:
    """Import the public names when they are first asked for: `import caption` alone costs nothing."""
    if name in _ROOMS:
        from common.commands.command import check_builds

        check_builds("torchvision")
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'caption' has no attribute {name!r}")
