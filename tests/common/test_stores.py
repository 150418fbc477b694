"""What lies behind URLs comes whole or is one line, whatever the connection does."""

from __future__ import annotations

import random
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from web import Web, web_server

from common import stores
from common.errors import InputError, OutputError
from common.locations import StorePath, location

pytest.importorskip("fsspec")
DATA = random.Random(1).randbytes(300_000)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(stores, "PAUSE_SECONDS", 0.01)
    with web_server() as server:
        server.files["/talk.wav"] = DATA
        yield server


@pytest.fixture
def folder() -> str:
    return f"memory://{uuid.uuid4()}"


def gets(web: Web) -> list[str | None]:
    return [asked for method, _, asked in web.requests if method == "GET"]


def test_a_download_that_drops_goes_on_where_it_dropped(web: Web) -> None:
    web.drops["/talk.wav"] = 2
    assert stores.read(web.url("/talk.wav")) == DATA
    starts = [0 if one is None else int(one.strip("bytes=-")) for one in gets(web)]
    assert len(starts) == 3
    assert 0 == starts[0] < starts[1] < starts[2] < len(DATA)


def test_a_download_that_drops_begins_again_where_the_server_gives_no_parts(web: Web) -> None:
    web.ranges = False
    web.drops["/talk.wav"] = 2
    assert stores.read(web.url("/talk.wav")) == DATA
    assert len(gets(web)) == 3


def test_a_file_that_changes_between_two_attempts_is_not_pieced_together(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DATA[::-1] + b"more"

    def change(seconds: float) -> None:
        web.files["/talk.wav"] = other

    monkeypatch.setattr("common.stores.time.sleep", change)
    web.drops["/talk.wav"] = 1
    assert stores.read(web.url("/talk.wav")) == other


def test_a_connection_that_always_drops_is_given_up_in_one_line(web: Web) -> None:
    web.ranges = False
    web.drops["/talk.wav"] = 99
    with pytest.raises(InputError, match=r"talk\.wav: cannot be read: the connection fails") as caught:
        stores.read(web.url("/talk.wav"))
    assert len(gets(web)) == stores.ATTEMPTS
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "no such file"),
        (403, "may not be read; check the credentials"),
        (410, "no such file"),
        (451, "the server answers 451"),
    ],
)
def test_what_a_server_refuses_is_said_at_once(web: Web, status: int, reason: str) -> None:
    web.statuses["/talk.wav"] = [status] * 9
    with pytest.raises(InputError, match=reason):
        stores.read(web.url("/talk.wav"))
    assert len(web.requests) <= 2  # what HEAD is refused may be granted to GET


def test_a_server_that_is_busy_is_asked_again(web: Web) -> None:
    web.statuses["/talk.wav"] = [503, 503, 200, 503]  # HEAD and GET, HEAD, GET
    assert stores.read(web.url("/talk.wav")) == DATA


@pytest.mark.parametrize("configured", [False, True])
def test_a_server_that_says_nothing_is_not_waited_for(
    configured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    from fsspec.config import conf

    monkeypatch.setattr(stores, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(stores, "ATTEMPTS", 2)
    if configured:
        monkeypatch.setitem(conf, "https", {"client_kwargs": {"timeout": 0.05}})
    else:
        monkeypatch.setattr(stores, "SILENCE_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/talk.wav"
        with pytest.raises(InputError, match=r"cannot be read: no answer in time"):
            stores.read(url)


def test_what_is_too_large_is_refused_before_it_comes(web: Web) -> None:
    with pytest.raises(InputError, match=r"too large \(more than 0 MB\)"):
        stores.read(web.url("/talk.wav"), most=1000)
    assert not [one for one in web.requests if one[0] == "GET"]


def test_a_copy_has_the_suffix_and_is_gone_afterwards(web: Web) -> None:
    web.files["/talk.wav"] = DATA
    with stores.local_copy(web.url("/talk.wav?key=a/b.mp3")) as copy:
        assert Path(copy).suffix == ".wav"
        assert Path(copy).read_bytes() == DATA
    assert not Path(copy).exists()
    with stores.local_copy("talk.wav") as same:
        assert same == "talk.wav"


def test_what_is_put_is_found_read_and_told_from_what_was_there(folder: str) -> None:
    stores.put(f"{folder}/b/two.txt", b"two")
    stores.put(f"{folder}/a.txt", b"one")
    assert [one.url for one in stores.find(folder)] == [f"{folder}/a.txt", f"{folder}/b/two.txt"]
    assert [one.url for one in stores.find_matching(f"{folder}/*/t*.txt", folder)] == [f"{folder}/b/two.txt"]
    before = stores.look_up(f"{folder}/a.txt")
    assert (before.size, before.is_folder) == (3, False)
    assert stores.look_up(f"{folder}/b").is_folder
    stores.put(f"{folder}/a.txt", b"ONE")
    assert stores.look_up(f"{folder}/a.txt").changed != before.changed
    assert stores.read(f"{folder}/a.txt") == b"ONE"
    assert stores.find(f"{folder}/none/") == []
    with pytest.raises(InputError, match="no such file"):
        stores.look_up(f"{folder}/none.txt")


def test_a_file_that_could_not_be_put_whole_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.local import LocalFileOpener

    folder = f"local://{tmp_path}/out"
    stores.put(f"{folder}/a.txt", b"before")

    def write(file: LocalFileOpener, data: bytes) -> int:
        file.f.write(data[:2])
        raise PermissionError("no room")

    monkeypatch.setattr(LocalFileOpener, "write", write)
    for name in ("a.txt", "b.txt"):
        with pytest.raises(OutputError, match="may not be written"):
            stores.put(f"{folder}/{name}", b"after")
    assert stores.read(f"{folder}/a.txt") == b"before"
    assert [one.url for one in stores.find(folder)] == [f"{folder}/a.txt"]


def test_unknown_protocols_and_web_servers_as_outputs_are_one_line() -> None:
    with pytest.raises(InputError, match=r"nothing://a/b: cannot be asked for: Protocol not known"):
        stores.look_up("nothing://a/b")
    with pytest.raises(OutputError, match="takes no files"):
        stores.put("https://example.org/a.txt", b"")


def test_a_mistake_of_the_program_is_none_of_the_connection(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def info(*_: object, **__: object) -> None:
        raise AttributeError("a bug")

    monkeypatch.setattr(MemoryFileSystem, "info", info)
    with pytest.raises(AttributeError):
        stores.look_up(f"{folder}/a.txt")


def test_several_are_asked_at_a_time_and_errors_keep_their_place() -> None:
    meeting = threading.Barrier(3, timeout=5)

    def ask(number: int) -> int:
        meeting.wait()
        if number == 1:
            raise InputError("one", "is bad")
        return number

    answers = stores.together(ask, [0, 1, 2])
    assert (answers[0], str(answers[1]), answers[2]) == (0, "one: is bad", 2)


@pytest.mark.parametrize(
    ("text", "is_url"),
    [
        ("s3://a/b", True),
        ("HTTPS://a", True),
        ("c:/a", False),
        ("c://a", False),
        ("a:b", False),
        ("a", False),
    ],
)
def test_urls_are_told_from_paths(text: str, is_url: bool) -> None:
    assert stores.is_url(text) is is_url
    assert isinstance(location(text), StorePath if is_url else Path)


def test_a_place_on_a_store_is_taken_apart_and_put_together_as_a_path_is() -> None:
    place = location("s3://bucket/a/talk.tar.gz")
    assert isinstance(place, StorePath)
    assert (place.name, place.suffix, str(place.parent)) == ("talk.tar.gz", ".gz", "s3://bucket/a/")
    assert str(place.with_suffix(".txt")) == "s3://bucket/a/talk.tar.txt"
    assert str(place.parent / "x/y.txt") == "s3://bucket/a/x/y.txt"
    assert str(place.relative_to(StorePath("s3://bucket"))) == "a/talk.tar.gz"
    with pytest.raises(ValueError, match="is not below"):
        place.relative_to(StorePath("s3://bucket/b"))
    assert (place.is_dir(), place.parent.is_dir(), StorePath("s3://b/out").is_dir()) == (False, True, True)
    assert StorePath("https://a/talk.wav?key=b/c.mp3").name == "talk.wav"
    assert location("file:///a/b") == Path("/a/b")


def test_paths_of_this_machine_need_no_fsspec() -> None:
    import subprocess

    program = "import sys, speech.cli, caption.cli, common.commands.batch; print('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
