"""The `caption` command on photographs behind URLs, with captions that go to a store."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from describing import describe
from web import Web, web_server

from caption import Captioner
from caption.cli import main
from common import stores

pytest.importorskip("fsspec")


@pytest.fixture
def store(photographs: Path) -> str:
    """The photographs, on a store."""
    store = f"memory://{uuid.uuid4()}"
    for path in photographs.rglob("*.*"):
        stores.put(f"{store}/photos/{path.relative_to(photographs)}", path.read_bytes())
    return store


@pytest.fixture
def web(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(stores, "PAUSE_SECONDS", 0.01)
    with web_server() as server:
        server.files["/a.png"] = (photographs / "a.png").read_bytes()
        yield server


def rows(url: str) -> dict[str, str]:
    found = [json.loads(line) for line in stores.read(url).decode().splitlines()]
    return {row["path"]: row["caption"] for row in found}


def test_captions_of_a_store_are_those_of_its_photographs_on_this_machine(
    store: str, model: str, photographs: Path
) -> None:
    assert describe(model, "photos", "--output", "here") == 0
    assert describe(model, f"{store}/photos/", "--output", f"{store}/out/") == 0
    for name in ("a.txt", "b.txt", "deep/c.txt"):
        assert stores.read(f"{store}/out/{name}") == (Path("here") / name).read_bytes()


def test_a_table_on_a_store_goes_on_where_it_stopped(
    store: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = f"{store}/captions.jsonl"
    assert describe(model, f"{store}/photos/a.png", "--output", table) == 0
    assert describe(model, f"{store}/photos/", "--output", table) == 0
    assert "2 done, 1 already there" in capsys.readouterr().err
    assert len(rows(table)) == 3
    assert describe(model, f"{store}/photos/", "--output", table, "--no-repeat", "1") == 0
    assert "is done again with no-repeat 1" in capsys.readouterr().err
    assert stores.read(table).count(b"\n") == 3  # no photograph has two rows


def test_a_sidecar_stands_beside_its_photograph_on_the_store(store: str, model: str) -> None:
    stores.put(f"{store}/photos/a.txt", b"red, flag")
    assert describe(model, f"{store}/photos/", "--sidecar", "--existing", "append") == 0
    assert stores.read(f"{store}/photos/a.txt").startswith(b"red, flag, ")
    assert stores.read(f"{store}/photos/deep/c.txt")
    before = stores.read(f"{store}/photos/a.txt")
    assert describe(model, f"{store}/photos/", "--sidecar", "--existing", "append") == 0
    assert stores.read(f"{store}/photos/a.txt") == before


def test_sheets_and_a_page_go_to_the_store(store: str, model: str) -> None:
    page = f"{store}/page.html"
    arguments = [f"{store}/photos/a.png", "--output", page, "--attention", f"{store}/sheets/"]
    assert describe(model, *arguments) == 0
    assert stores.read(page).count(b"<figure") == 1
    assert stores.read(f"{store}/sheets/a.attention.png").startswith(b"\x89PNG")


def test_a_photograph_of_the_web_that_does_not_come_is_one_line_and_the_others_are_done(
    web: Web, model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.files |= {f"/{name}.png": web.files["/a.png"] for name in ("drops", "locked")}
    web.drops["/drops.png"] = 99
    web.statuses["/locked.png"] = [403] * 9
    names = ["drops.png", "locked.png", "none.png", "a.png"]
    assert describe(model, *(web.url(f"/{name}") for name in names), "--output", "out") == 1
    assert [path.name for path in Path("out").glob("*.txt")] == ["a.txt"]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    for name, reason in {
        "drops": "connection fails",
        "locked": "credentials",
        "none": "no such file",
    }.items():
        assert sum(f"/{name}.png: " in line and reason in line for line in said) == 1
    assert said[-1].startswith("caption: 1 done, 3 failed")


def test_a_manifest_may_be_a_url_and_name_urls(
    store: str, model: str, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stores.put(
        f"{store}/dev.tsv", f"path\tcaption\nphotos/a.png\ta dog\n{store}/photos/b.jpg\ta cat\n".encode()
    )
    assert main(["evaluate", f"{store}/dev.tsv", "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2


def test_python_describes_a_url(store: str, model: str, photographs: Path) -> None:
    captioner = Captioner.load(model)
    here, there = (captioner.describe(one) for one in (photographs / "a.png", f"{store}/photos/a.png"))
    assert here == there


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--write-metadata"], "--write-metadata: writes into files of this machine"),
        (["--output", "https://example.org/out/"], "a web server takes no files"),
    ],
)
def test_what_cannot_be_done_with_urls_is_one_line(
    store: str, model: str, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiohttp")
    assert describe(model, f"{store}/photos/a.png", *arguments) == 1
    assert reason in capsys.readouterr().err


def test_without_ray_a_command_says_what_to_install(
    photographs: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert describe(model, "photos", "--output", "out", "--engine", "ray") == 1
    way_out = "pip install '.[ray]' in the folder of the code"
    assert capsys.readouterr().err == f"caption: needs ray: {way_out}\n"


def test_without_the_extra_a_command_says_what_to_install(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # fsspec remembers what it has imported by protocol: no other test asks for s3a.
    for missing, url in {"fsspec": "memory://a.png", "s3fs": "s3a://bucket/a.png"}.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            assert describe(model, url) == 1
        way_out = "pip install '.[remote]' in the folder of the code"
        assert capsys.readouterr().err == f"caption: needs {missing}: {way_out}\n"
