"""What both pages share: how they look, how errors reach a person, and how they are served.

Everything comes from this machine and stays on it: no fonts, no scripts, no statistics from elsewhere.
"""

from __future__ import annotations

import functools
import html
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar

import gradio as gr

from speech import InputError

P = ParamSpec("P")
R = TypeVar("R")

_SYSTEM_FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_SYSTEM_MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")

_STYLE = """
.gradio-container { width: 100% !important; max-width: 46rem !important; min-width: 0;
    margin: 0 auto !important; }
.answer textarea { font-size: 1.35rem !important; line-height: 1.5 !important; }
.picture img { width: 100%; height: 10rem; object-fit: fill; }
.words { line-height: 2; overflow-wrap: anywhere; }
.words span { border-radius: 0.25rem; padding: 0.1rem 0.25rem; }
.words .unsure { text-decoration: underline dotted; text-underline-offset: 0.2em; }
.words small { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""

LARGEST_UPLOAD = 500 * 1024 * 1024  # bytes

# Uploads are looked over each ten minutes and deleted after an hour, and when the page ends.
LOOK_OVER_SECONDS, KEEP_SECONDS = 600.0, 3600.0


def page(title: str, introduction: str) -> gr.Blocks:
    """An empty page with its heading; fill it in a `with` block."""
    app = gr.Blocks(title=title, analytics_enabled=False)
    with app:
        gr.Markdown(f"# {title}\n\n{introduction}")
    return app


def in_words(
    function: Callable[P, R], error_type: type[Exception], reason: Callable[[Exception], str]
) -> Callable[P, R]:
    """A page's function whose `error_type` becomes a sentence on the page; all else stays a bug.

    Args:
        function: what the page calls.
        error_type: what a person can cause.
        reason: the sentence for one of them.
    """

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except error_type as error:
            # The page renders messages as HTML, and a file may be called anything.
            message = html.escape(reason(error), quote=False)
            raise gr.Error(message, duration=None, print_exception=False) from error

    return asked


def sentence(name: str, reason: str) -> str:
    """An upload's name and what is wrong with it, as a sentence."""
    return f"{Path(name).name}: {reason}. Please choose another file."


def serve(
    build: Callable[[], gr.Blocks], port: int | None = None, open_browser: bool = False, block: bool = True
) -> tuple[str, Callable[[], None]]:
    """Serve a page to this machine alone.

    Uploads go to a folder of their own, which is gone when the page ends.

    Args:
        build: makes the page.
        port: where; None takes a free one.
        open_browser: show it at once.
        block: say where the page is, and stay here until Ctrl-C; otherwise return while the page is served in
            the background.

    Returns:
        The page's address, and what ends it.

    Raises:
        InputError: if the port is taken.
    """
    with ExitStack() as stack:
        uploads = Path(stack.enter_context(TemporaryDirectory(prefix="uploads-", ignore_cleanup_errors=True)))
        stack.enter_context(_upload_folder(uploads))
        app = build()
        try:
            _, address, _ = app.launch(
                server_name="127.0.0.1",
                server_port=port,
                share=False,
                inbrowser=open_browser,
                prevent_thread_lock=True,
                quiet=True,
                max_file_size=LARGEST_UPLOAD,
                theme=gr.themes.Soft(font=_SYSTEM_FONT, font_mono=_SYSTEM_MONO),
                css=_STYLE,
                footer_links=[],
                ssr_mode=False,
                enable_monitoring=False,
                run_history=False,
                mcp_server=False,
            )
        except OSError as error:
            if port is None:
                raise
            raise InputError("--port", f"{port} cannot be had; another program may be using it") from error
        stack.callback(app.close, verbose=False)
        ended = threading.Event()
        stack.callback(ended.set)
        threading.Thread(target=_look_over, args=(uploads, ended), daemon=True).start()
        if not block:
            return address, stack.pop_all().close
        print(f"The page is at {address} ; Ctrl-C ends it.", file=sys.stderr, flush=True)
        app.block_thread()
    return address, lambda: None


@contextmanager
def _upload_folder(folder: Path) -> Iterator[None]:
    """Have Gradio keep in a folder what it keeps; it asks the environment where that is."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = before


def _look_over(uploads: Path, ended: threading.Event) -> None:
    """Delete old uploads, again and again until the page has ended."""
    while not ended.wait(LOOK_OVER_SECONDS):
        delete_old(uploads, KEEP_SECONDS)


def delete_old(folder: Path, seconds: float) -> None:
    """Delete the files below a folder that nobody has written for so many seconds."""
    for path in folder.rglob("*"):
        with suppress(OSError):  # it may have gone, or be in use
            if path.is_file() and time.time() - path.stat().st_mtime > seconds:
                path.unlink()
