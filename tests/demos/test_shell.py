"""What all pages share: who can reach them, what becomes of uploads, and names for everything."""

from __future__ import annotations

import os
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from tiny_models import tiny
from web import PATIENCE, client_of

from caption import Captioner
from common.commands.command import load_page
from demos import caption_page, speech_page
from demos.shell import in_words, serve
from demos.uploads import UploadFolders, delete_old
from speech import InputError


def test_endpoints_are_named_and_documented(speech_client: Client, caption_client: Client) -> None:
    for client, names in (
        (speech_client, {"/transcribe", "/compare"}),
        (caption_client, {"/describe", "/search"}),
    ):
        endpoints = client.view_api(return_format="dict")["named_endpoints"]
        assert set(endpoints) == names
        assert all(one["description"] for one in endpoints.values())
        assert all(given["label"] for one in endpoints.values() for given in one["parameters"])


def test_a_port_that_is_taken_is_one_line(speech_client: Client) -> None:
    port = int(speech_client.src.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(InputError, match="another program"):
        serve(lambda: speech_page.build_app(tiny()), port, block=False)


def test_pages_are_served_to_this_machine_alone(speech_client: Client, caption_client: Client) -> None:
    for client in (speech_client, caption_client):
        assert client.src.startswith("http://127.0.0.1:")


def test_a_file_name_cannot_put_markup_on_the_page() -> None:
    def refuse() -> None:
        raise InputError("<img>.wav", "is empty")

    with pytest.raises(gr.Error) as caught:
        in_words(refuse)()
    assert caught.value.message == "&lt;img&gt;.wav: is empty. Please choose another file."


def test_uploads_are_gone_when_the_page_ends(recording: Path) -> None:
    before = os.environ.get("GRADIO_TEMP_DIR")
    others = set(Path(before).iterdir()) if before else set()
    address, close = serve(lambda: speech_page.build_app(tiny()), block=False)
    (uploads,) = set(Path(os.environ["GRADIO_TEMP_DIR"]).iterdir()) - others
    client_of(address).predict(handle_file(recording), api_name="/transcribe")
    assert list(uploads.rglob("speech.wav"))
    close()
    assert not uploads.exists()
    assert os.environ.get("GRADIO_TEMP_DIR") == before


def test_old_uploads_go_and_examples_stay(tmp_path: Path) -> None:
    old, new, example = (tmp_path / "a" / name for name in ("old", "new", "example"))
    old.parent.mkdir()
    for path in (old, new, example):
        path.touch()
    for path in (old, example):
        os.utime(path, (0, 0))
    delete_old(tmp_path, 3600, {example})
    assert [path.exists() for path in (old, new, example)] == [False, True, True]


def test_two_pages_in_one_process_keep_their_uploads_apart(recording: Path) -> None:
    pages = [serve(lambda: speech_page.build_app(tiny()), block=False) for _ in range(2)]
    root = Path(os.environ["GRADIO_TEMP_DIR"])
    others = set(root.rglob("speech.wav"))
    for address, _ in pages:
        client_of(address).predict(handle_file(recording), api_name="/transcribe")
    uploads = sorted(set(root.rglob("speech.wav")) - others, key=lambda path: path.stat().st_mtime)
    one, other = (path.parents[1] for path in uploads)
    assert one != other and one.parent == other.parent == root
    pages[1][1]()
    assert (one.exists(), other.exists()) == (True, False)
    text, *_ = client_of(pages[0][0]).predict(handle_file(recording), api_name="/transcribe")
    assert text
    pages[0][1]()
    assert not one.exists()


@pytest.mark.parametrize("first_goes_first", [True, False])
def test_the_last_page_puts_the_environment_back(
    monkeypatch: pytest.MonkeyPatch, first_goes_first: bool
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    folders = UploadFolders()
    pages = [ExitStack(), ExitStack()]
    one, other = (page.enter_context(folders.page()) for page in pages)
    root = os.environ["GRADIO_TEMP_DIR"]
    assert str(one.parent) == str(other.parent) == root
    with folders.building(one):
        assert os.environ["GRADIO_TEMP_DIR"] == str(one)
    assert os.environ["GRADIO_TEMP_DIR"] == root
    pages[0 if first_goes_first else 1].close()
    assert os.environ["GRADIO_TEMP_DIR"] == root
    pages[1 if first_goes_first else 0].close()
    assert os.environ["GRADIO_TEMP_DIR"] == "before"
    assert not Path(root).exists()


def test_a_page_takes_no_upload_above_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("demos.shell.LARGEST_UPLOAD", 1000)
    address, close = serve(lambda: speech_page.build_app(tiny()), block=False)
    try:
        place = f"{address}gradio_api/upload"
        sounds = [{"files": ("a.wav", bytes(size))} for size in (900, 2000)]
        answers = [httpx.post(place, files=sound, timeout=PATIENCE).status_code for sound in sounds]
    finally:
        close()
    assert answers == [200, 413]
    assert capfd.readouterr().out == ""  # nobody is told to share the page


def test_every_box_has_a_label_every_example_a_name_and_results_are_reachable(captioner: Captioner) -> None:
    for app in (speech_page.build_app(tiny()), caption_page.build_app(captioner)):
        blocks = list(app.blocks.values())
        boxes = [one for one in blocks if isinstance(one, gr.Textbox | gr.File)]
        assert all(box.label and box.show_label is not False for box in boxes)
        assert all(box.interactive is not False for box in boxes if isinstance(box, gr.Textbox))
        (examples,) = [one for one in blocks if isinstance(one, gr.Dataset)]
        assert examples.sample_labels and all(examples.sample_labels)


@pytest.mark.parametrize("page", ["speech", "caption"])
def test_the_commands_find_their_page_without_an_import_upwards(page: str) -> None:
    (entry,) = entry_points(group="recurrent_suite.pages", name=page)
    assert entry.load() is {"speech": speech_page, "caption": caption_page}[page].open_page
    assert load_page(page) is entry.load()
