"""An image captioner that runs offline on a CPU: photographs become sentences.

from caption import Captioner
print(Captioner.load().describe("photo.jpg").text)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caption.captioner import Caption, Captioner
    from caption.options import DescribeOptions
    from common.errors import InputError

__all__ = ["Caption", "Captioner", "DescribeOptions", "InputError"]


def __getattr__(name: str) -> object:
    """Import the public names when they are first asked for: `import caption` alone costs nothing."""
    if name in __all__:
        from common.command import check_builds

        check_builds("torchvision")
        from caption import captioner

        return getattr(captioner, name)
    raise AttributeError(f"module 'caption' has no attribute {name!r}")
