"""The captioner's page, driven as a browser drives it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from web import client_of

from caption import Captioner, DescribeOptions
from demos import caption_page
from demos.shell import serve


def test_a_photograph_becomes_a_caption_with_runners_up(caption_client: Client, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.effect_noise((64, 48), 80).convert("RGB").save(path)
    text, shown = caption_client.predict([handle_file(path)], 3, api_name="/describe")
    (one,) = shown["pictures"]
    assert one["caption"] == text and set(text.split()) <= {"a", "dog", "runs"}
    assert one["alt"] == f"{text.capitalize()}."
    assert len(one["alternatives"]) == 2
    assert [glance["word"] for glance in one["glances"]] == text.split()
    for glance in one["glances"]:
        kind, _, data = glance["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (64, 48)


def test_several_photographs_are_described_though_one_cannot_be_read(
    caption_client: Client, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    Image.effect_noise((40, 30), 80).save(good)
    bad.write_text("no picture")
    text, shown = caption_client.predict([handle_file(bad), handle_file(good)], 2, api_name="/describe")
    first, second = text.split("\n")
    assert first.startswith("bad.jpg: is not a picture")
    assert [one["name"] for one in shown["pictures"]] == ["bad.jpg", "good.png"]
    assert shown["pictures"][1]["caption"] == second


def test_the_photograph_that_fits_a_sentence_best_is_found_first(
    captioner: Captioner, caption_client: Client, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.png" for name in ("one", "two", "three")]
    for number, path in enumerate(paths):
        Image.effect_noise((40, 30), 40 + 80 * number).save(path)
    table = caption_client.predict([handle_file(path) for path in paths], "a dog zzz", api_name="/search")
    scores = captioner.log_likelihoods("a dog zzz", [str(path) for path in paths])
    best = [path.name for _, path in sorted(zip(scores, paths, strict=True), reverse=True)]
    assert re.findall(r"> (\w+\.png)<", table) == best
    assert "never learned: zzz" in table
    with pytest.raises(AppError, match="none of these words"):
        caption_client.predict([handle_file(paths[0])], "qqq", api_name="/search")


@pytest.mark.parametrize(("count", "way_out"), [(0, "Choose a photograph"), (25, "24 are the most")])
def test_no_photograph_and_too_many_say_the_way_out(captioner: Captioner, count: int, way_out: str) -> None:
    page = caption_page.CaptionPage(captioner, DescribeOptions())
    with pytest.raises(gr.Error, match=way_out):
        page.describe(["photo.jpg"] * count)


def test_the_camera_gives_only_what_was_uploaded(captioner: Captioner, tmp_path: Path) -> None:
    page = caption_page.CaptionPage(captioner, DescribeOptions())
    (tmp_path / "uploads").mkdir()
    inside, outside = tmp_path / "uploads" / "in.png", tmp_path / "secret.png"
    for path in (inside, outside):
        Image.effect_noise((40, 30), 80).save(path)
    add = page.added(tmp_path / "uploads")
    files, text, _ = add([str(outside)], 2, gr.EventData(None, {"paths": [str(inside)]}))
    assert files == [str(outside), str(inside)] and len(text.split("\n")) == 2
    for hidden in (str(outside), str(tmp_path / "uploads" / ".." / "secret.png")):
        with pytest.raises(gr.Error, match="did not arrive"):
            add([], 2, gr.EventData(None, {"paths": [hidden]}))


def test_the_page_searches_as_the_command_was_told_to(captioner: Captioner, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.effect_noise((40, 30), 80).save(path)
    prefix = "dog a dog"
    address, close = serve(
        lambda: caption_page.build_app(captioner, DescribeOptions(prefix=prefix)), block=False
    )
    text, *_ = client_of(address).predict([handle_file(path)], 2, api_name="/describe")
    close()
    assert text.startswith(prefix)


def test_a_bad_photograph_gives_a_sentence(caption_client: Client, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    path.write_text("no picture")
    with pytest.raises(AppError) as caught:
        caption_client.predict([handle_file(path)], 3, api_name="/describe")
    assert "bad.jpg: is not a picture" in str(caught.value)
