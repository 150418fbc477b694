"""What both pages share: how they look, how errors reach a person, and how they are served.

Everything comes from this machine and stays on it: no fonts, no scripts, no statistics from elsewhere.
"""

from __future__ import annotations

import functools
import html
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import gradio as gr

from demos.style import STYLE, theme
from demos.uploads import FOLDERS, files_below, look_over
from speech import InputError

P = ParamSpec("P")
R = TypeVar("R")

LARGEST_UPLOAD = 500 * 1024 * 1024  # bytes
MOST_WAITING = 100  # calls that wait in line; more are told to come back


def page(title: str, introduction: str) -> gr.Blocks:
    """An empty page with its heading; fill it in a `with` block."""
    app = gr.Blocks(title=title, analytics_enabled=False)
    with app:
        gr.Markdown(f"# {title}\n\n{introduction}")
    return app


def scripted(
    script: str, template: str = '<div class="suite result"></div>', produces: str = "", **options: Any
) -> gr.HTML:
    """A part of the page that a script of ours draws.

    It is no class of its own: Gradio writes a file beside the source of every class of components.

    Args:
        script: name of the file.
        template: what the script finds.
        produces: what a client gets as its value, in words.
        options: of `gr.HTML`.
    """
    js = (Path(__file__).parent / script).read_text(encoding="utf-8")
    part = gr.HTML(html_template=template, js_on_load=js, container=True, padding=True, **options)
    if produces:
        part.api_info = lambda: {"type": "object", "description": produces}  # type: ignore[method-assign]
    return part


def refuse(message: str) -> NoReturn:
    """Tell a person on the page what to do instead; it stays there until it is closed.

    The page renders messages as HTML, and a file may be called anything.
    """
    raise gr.Error(html.escape(message, quote=False), duration=None, print_exception=False)


def in_words(function: Callable[P, R]) -> Callable[P, R]:
    """A page's function whose `InputError` becomes a sentence on the page; all else stays a bug."""

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            refuse(sentence(error))

    return asked


def sentence(error: InputError) -> str:
    """What is wrong with an upload, or with what was chosen, and the way out."""
    if error.path.startswith("--"):
        return say(f"{error.path.lstrip('-')} {error.reason}")
    return f"{Path(error.path).name}: {error.reason}. Please choose another file."


def say(remark: str) -> str:
    """A remark as a sentence."""
    return f"{remark[0].upper()}{remark[1:]}{'' if remark[-1] in '.?!' else '.'}"


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
        folder = stack.enter_context(FOLDERS.page())
        building = stack.enter_context(ExitStack())
        building.enter_context(FOLDERS.building(folder))
        app = build().queue(max_size=MOST_WAITING)
        examples = files_below(folder)
        try:
            _, address, _ = app.launch(
                server_name="127.0.0.1",
                server_port=port,
                share=False,
                inbrowser=open_browser,
                prevent_thread_lock=True,
                quiet=True,
                max_file_size=LARGEST_UPLOAD,
                theme=theme(),
                css=STYLE,
                js=(Path(__file__).parent / "page.js").read_text(encoding="utf-8"),
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
        building.close()
        ended = threading.Event()
        stack.callback(ended.set)
        threading.Thread(target=look_over, args=(folder, examples, ended), daemon=True).start()
        if not block:
            return address, stack.pop_all().close
        print(f"The page is at {address} ; Ctrl-C ends it.", file=sys.stderr, flush=True)
        app.block_thread()
    return address, lambda: None
