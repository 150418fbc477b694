"""What is said while it is said, on the terminal: updates in; final texts on standard output, one a line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from shutil import get_terminal_size
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speech.stream import Update


def live_printer() -> Callable[[Update], None]:
    """Print final texts, one a line; rewrite the text that may still change on the terminal's last line."""
    is_terminal = sys.stderr.isatty()

    def show(text: str) -> None:
        if is_terminal:
            width = get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[-width:]}", end="", file=sys.stderr, flush=True)

    def deliver(update: Update) -> None:
        show("" if update.final else update.text)
        if update.final:
            print(update.text, flush=True)

    return deliver
