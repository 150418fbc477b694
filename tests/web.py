"""Servers for tests, on this machine: the web, one that drops what it sends, S3; and who asks pages."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradio_client import Client

PATIENCE = 120.0  # seconds that an answer may take where a machine has other things to do


def client_of(address: str, **options: Any) -> Client:
    """Somebody who asks a page and is patient; options as of `gradio_client.Client`."""
    from gradio_client import Client

    return Client(address, verbose=False, httpx_kwargs={"timeout": PATIENCE}, **options)


class Web(ThreadingHTTPServer):
    """A web server whose files are bytes; `requests` are (method, path, Range), in order.

    Attributes:
        files: by path, with a slash in front.
        statuses: answered in place of a file, one a request, by path.
        drops: how many answers to GET end after half of what they announce, by path.
        ranges: whether a part of a file can be asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.statuses: dict[str, list[int]] = {}
        self.drops: dict[str, int] = {}
        self.ranges = True
        self.requests: list[tuple[str, str, str | None]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        web, path = self.server, self.path.partition("?")[0]
        asked = self.headers.get("Range")
        web.requests.append((self.command, self.path, asked))
        statuses = web.statuses.get(path, [])
        status = statuses.pop(0) if statuses else 200 if path in web.files else 404
        if status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, start = web.files[path], 0
        if asked is not None and web.ranges:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{hash(data)}"')
        self.end_headers()
        if not with_body:
            return
        body = data[start:]
        if web.drops.get(path, 0) > 0:
            web.drops[path] -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)
        if self.close_connection and len(body) < len(data) - start:
            self.wfile.flush()
            time.sleep(0.1)  # so that what was sent has come before the connection ends

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


@contextmanager
def web_server() -> Iterator[Web]:
    server = Web()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def s3_server() -> Iterator[None]:
    """An S3 server, and an environment that leads to it."""
    server_module = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec = pytest.importorskip("fsspec")
        try:
            yield
        finally:
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            server.stop()
