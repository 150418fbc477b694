"""What both pages share: how they look, how errors reach a person, and how they are served.

Everything comes from this machine and stays on it: no fonts, no scripts, no statistics from elsewhere.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from pathlib import Path
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

# Uploads are looked over each ten minutes and deleted after an hour, and when the page ends.
_DELETE_UPLOADS_SECONDS = (600, 3600)


def page(title: str, introduction: str) -> gr.Blocks:
    """An empty page with its heading; fill it in a `with` block."""
    app = gr.Blocks(title=title, analytics_enabled=False, delete_cache=_DELETE_UPLOADS_SECONDS)
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
    app: gr.Blocks, port: int | None = None, open_browser: bool = False, block: bool = True
) -> tuple[str, Callable[[], None]]:
    """Serve a page to this machine alone.

    Args:
        app: the page.
        port: where; None takes a free one.
        open_browser: show it at once.
        block: stay here until Ctrl-C; otherwise return while the page is served in the background.

    Returns:
        The page's address, and what ends it.

    Raises:
        InputError: if the port is taken.
    """
    try:
        _, address, _ = app.launch(
            server_name="127.0.0.1",
            server_port=port,
            share=False,
            inbrowser=open_browser,
            prevent_thread_lock=not block,
            quiet=not block,
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
    return address, app.close
