"""The pages in a real browser: Chromium, with a microphone and a camera that play files.

pip install playwright; apt-get install chromium; npm install axe-core (for the names and contrasts).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from recordings import tone, write
from tiny_models import sentence

from caption import Captioner
from demos import caption_page, lab_page, speech_page
from demos.__main__ import build_app
from demos.shell import serve
from speech import Recognizer

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

ROOT = Path(__file__).parents[2]
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream "
    "--use-fake-ui-for-media-stream"
).split()
PATIENCE = 180_000  # milliseconds: where nothing else runs, most answers take less than a second
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 375, "height": 812}
SPEECH_EXAMPLE = "New York City"
# What ends to the right of the page, and is in no box that can be scrolled.
CUT_OFF = """[...document.querySelectorAll("button, input, textarea, img, td, th")]
    .filter((one) => one.checkVisibility() && !one.closest(".wide, .sound, .hidden, .visually-hidden"))
    .filter((one) => one.getBoundingClientRect().right > window.innerWidth)
    .map((one) => one.outerHTML.slice(0, 200))"""
SHOTS = ROOT / "build" / "screenshots"  # to be looked at; git ignores them


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load()


@pytest.fixture(scope="module")
def addresses(recognizer: Recognizer) -> Iterator[dict[str, str]]:
    captioner = Captioner.load()
    builds = {
        "speech": lambda: speech_page.build_app(recognizer),
        "caption": lambda: caption_page.build_app(captioner),
        "lab": lambda: lab_page.build_app(recognizer, captioner),
        "both": lambda: build_app(recognizer, captioner),
    }
    served = {name: serve(build, block=False) for name, build in builds.items()}
    yield {name: address for name, (address, _) in served.items()}
    for _, close in served.values():
        close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose microphone hears a sentence and then two seconds of nothing, again and again."""
    spoken = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    with wave.open(str(spoken), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.concatenate([sentence(), np.zeros(32_000, np.int16)]).tobytes())
    with playwright.sync_playwright() as started:
        context = started.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=CHROMIUM,
            args=[*ARGUMENTS, f"--use-file-for-fake-audio-capture={spoken}"],
            headless=True,
            viewport=WIDE,
            permissions=["microphone", "camera", "clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that notes what fails in it and what it asks of other machines."""
    opened = browser.new_page()
    opened.wrong = []
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on("console", lambda said: opened.wrong.append(said.text) if said.type == "error" else None)
    opened.on("request", lambda asked: opened.wrong.append(asked.url) if _is_elsewhere(asked.url) else None)
    yield opened
    opened.close()
    assert opened.wrong == []


def _is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


def open_page(page: Any, address: str, button: str) -> None:
    """Go there and wait until it can be used."""
    page.goto(address)
    page.get_by_role("button", name=button, exact=True).wait_for()


def transcribe_example(page: Any, address: str) -> Any:
    """Choose an example; gives its words."""
    open_page(page, address, "Transcribe")
    page.get_by_text(SPEECH_EXAMPLE).first.click()
    words = page.locator(".words button")
    words.first.wait_for()
    return words


def player(page: Any, what: str) -> Any:
    """A property of the player."""
    return page.evaluate(f"document.querySelector('audio').{what}")


# --- speech ------------------------------------------------------------------------------------------


def test_each_word_leads_to_its_place_in_the_recording(
    page: Any, addresses: dict[str, str], recognizer: Recognizer
) -> None:
    expected = recognizer.transcribe(speech_page.SAMPLES / "city.opus").words
    words = transcribe_example(page, addresses["speech"])
    assert words.count() == len(expected) > 3
    page.wait_for_function("document.querySelector('audio').readyState >= 1")
    assert abs(player(page, "duration") - 5.08) < 0.1
    page.evaluate("document.querySelector('audio').muted = true")
    words.nth(3).click()
    page.wait_for_function(f"document.querySelector('audio').currentTime >= {expected[3].start}")
    page.wait_for_function("document.querySelector('audio').paused")  # it ends with the word
    assert expected[3].start <= player(page, "currentTime") < expected[3].end + 0.5


def test_the_keyboard_alone_goes_from_word_to_word(page: Any, addresses: dict[str, str]) -> None:
    words = transcribe_example(page, addresses["speech"])
    words.first.focus()
    for key, number in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", words.count() - 1)):
        page.keyboard.press(key)
        assert words.nth(number).evaluate("one => one === document.activeElement")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('audio').currentTime > 2")


def test_five_files_can_be_downloaded(page: Any, addresses: dict[str, str], recognizer: Recognizer) -> None:
    transcript = recognizer.transcribe(speech_page.SAMPLES / "city.opus")
    transcribe_example(page, addresses["speech"])
    for kind in ("txt", "srt", "vtt", "tsv", "json"):
        with page.expect_download() as waiting:
            page.get_by_role("link", name=f"Download {kind}").click()
        assert waiting.value.suggested_filename == f"city.{kind}"
        text = Path(waiting.value.path()).read_text(encoding="utf-8")
        if kind == "json":
            assert json.loads(text) == json.loads(transcript.to_json("city.opus"))
        else:
            assert text == getattr(transcript, f"to_{kind}")()


def test_text_appears_while_somebody_speaks_and_the_recording_stays(
    page: Any, addresses: dict[str, str]
) -> None:
    open_page(page, addresses["speech"], "Start the microphone")
    page.get_by_role("button", name="Start the microphone").click()
    page.wait_for_function("document.querySelector('.suite textarea').value.split(' ').length >= 4")
    page.get_by_role("button", name="Stop").click()
    page.locator(".words button").first.wait_for()
    live = page.get_by_label("Text while you speak").input_value().replace("\n", " ").strip()
    whole = page.locator(".answer textarea").input_value().replace("\n", " ").strip()
    assert live.split()[:4] == whole.split()[:4]
    assert "microphone" in player(page, "src")


def test_a_video_can_be_dropped(page: Any, addresses: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    write(path, [tone(16_000)], "aac", 16_000, pictures=5)
    open_page(page, addresses["speech"], "Transcribe")
    dropped = page.evaluate_handle(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "talk.mp4", { type: "video/mp4" }));
            return data;
        }""",
        list(path.read_bytes()),
    )
    page.dispatch_event("button.upload-container", "drop", {"dataTransfer": dropped})
    page.get_by_text("talk.mp4").first.wait_for()
    page.get_by_role("button", name="Transcribe", exact=True).click()
    page.get_by_text("1.0 seconds of sound.").wait_for()


def test_an_error_says_what_to_do(page: Any, addresses: dict[str, str]) -> None:
    open_page(page, addresses["speech"], "Transcribe")
    page.get_by_role("button", name="Transcribe", exact=True).click()
    page.get_by_text("Choose a recording or make one first.").wait_for()


def test_searches_stand_side_by_side(page: Any, addresses: dict[str, str]) -> None:
    transcribe_example(page, addresses["speech"])
    page.get_by_text("Three searches side by side").click()
    page.get_by_role("button", name="Compare the searches").click()
    for name in ("Greedy", "Beam alone", "Beam with language model"):
        page.get_by_role("rowheader", name=name).wait_for()
    for size in (WIDE, PHONE):
        page.set_viewport_size(size)
        look_over(page, "speech-searches", size)  # the mouse stays on the button, which is coloured by that


# --- photographs -------------------------------------------------------------------------------------


def test_a_slider_leads_from_word_to_word(page: Any, addresses: dict[str, str]) -> None:
    open_page(page, addresses["caption"], "Describe")
    page.get_by_text("Cat", exact=True).first.click()
    slider = page.get_by_label("Word by word")
    slider.wait_for()
    whole = page.locator("img.look").get_attribute("src")
    words = page.locator(".answer textarea").input_value().split()
    slider.focus()
    seen = []
    for word in words:
        page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == word
        seen.append(page.locator("img.look").get_attribute("src"))
    assert len({whole, *seen}) == len(words) + 1


def test_the_alt_text_is_copied(page: Any, addresses: dict[str, str]) -> None:
    open_page(page, addresses["caption"], "Describe")
    page.get_by_text("Cat", exact=True).first.click()
    page.get_by_role("button", name="Copy the alt text").click()
    page.get_by_text("Copied.").wait_for()
    text = page.locator(".answer textarea").input_value()
    assert page.evaluate("navigator.clipboard.readText()") == f"{text.capitalize()}."


def test_camera_clipboard_and_files_come_together_and_are_searched(
    page: Any, addresses: dict[str, str]
) -> None:
    open_page(page, addresses["caption"], "Describe")
    with page.expect_file_chooser() as waiting:
        page.get_by_role("button", name="Add photographs").click()
    samples = [caption_page.SAMPLES / f"{name}.jpg" for name in ("temple", "cat")]
    waiting.value.set_files(samples)
    chosen = page.locator(".pictures button")
    chosen.nth(1).wait_for()
    page.get_by_role("button", name="Open the camera").click()
    page.get_by_text("The camera is on.").wait_for()
    page.get_by_role("button", name="Take the photograph").click()
    chosen.nth(2).wait_for()
    page.evaluate("""async () => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
        canvas.getContext("2d").fillRect(8, 8, 20, 20);
        const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
        await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    }""")
    page.get_by_role("button", name="Paste a photograph").click()
    chosen.nth(3).wait_for()
    chosen.nth(1).click()
    page.get_by_text("Search these photographs").click()
    page.get_by_label("Sentence").fill("a cat")
    page.keyboard.press("Enter")
    page.get_by_role("cell", name="cat.jpg").wait_for()
    assert "cat.jpg" in page.locator("tbody tr", has=page.get_by_role("rowheader", name="1")).inner_text()


# --- the lab -----------------------------------------------------------------------------------------

# Tab -> the example that is asked with one click, and a heading of its answer.
LAB = {
    "A recording": (SPEECH_EXAMPLE, "The forget gate, unit by unit"),
    "A caption": ("Cat", "The update gate, unit by unit"),
    "A register": ("Write, keep, erase, write", "GRU: its gates"),
    "Gradients": ("Vanishing: a small radius", "In figures"),
    "Four shapes": ("Aligned, 300 updates", "Some of them"),
}


def ask_lab(page: Any, tab: str) -> None:
    """Open a tab of the lab and ask its first example."""
    example, heading = LAB[tab]
    page.get_by_role("tab", name=tab, exact=True).click()
    page.get_by_text(example).locator("visible=true").first.click()
    page.get_by_role("heading", name=heading).locator("visible=true").wait_for()


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", PHONE)], ids=["desktop", "phone"])
def test_one_click_shows_what_networks_do_on_every_tab_of_the_lab(
    page: Any, addresses: dict[str, str], scheme: str, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)
    open_page(page, f"{addresses['lab']}?__theme={scheme}", "Look into the recogniser")
    for tab in LAB:
        ask_lab(page, tab)
        look_over(page, f"lab-{tab.lower().replace(' ', '-')}-{scheme}", size)


def tab_to(page: Any, place: Any) -> None:
    """Press Tab until a part of the page has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if place.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"{place} cannot be reached by keyboard")


def test_the_lab_is_asked_by_keyboard_alone(page: Any, addresses: dict[str, str]) -> None:
    open_page(page, addresses["lab"], "Look into the recogniser")
    tab_to(page, page.get_by_role("tab", name="Gradients"))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Measure the gradients").wait_for()
    tab_to(page, page.get_by_role("button", name="Measure the gradients"))
    page.keyboard.press("Enter")
    region = page.get_by_role("region", name="The gradient, back through time")
    region.wait_for()
    tab_to(page, region)  # so that what is too wide can be scrolled


def test_the_lab_says_what_cannot_be_read(page: Any, addresses: dict[str, str]) -> None:
    open_page(page, addresses["lab"], "Look into the recogniser")
    page.get_by_role("tab", name="A register").click()
    page.get_by_label("Steps").locator("visible=true").fill("0.5 up")
    page.get_by_role("button", name="Follow the gates").click()
    page.get_by_text("“up” is no step").wait_for()


# --- all pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["speech", "caption", "both"])
def test_names_and_contrasts_are_right_and_nothing_is_too_wide(
    page: Any, addresses: dict[str, str], name: str, scheme: str, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)
    page.goto(f"{addresses[name]}?__theme={scheme}")
    page.get_by_role("button", name="Describe" if name == "caption" else "Transcribe", exact=True).wait_for()
    page.get_by_text("Cat" if name == "caption" else SPEECH_EXAMPLE, exact=name == "caption").first.click()
    page.locator(".words button").first.wait_for()
    for closed in page.locator("button.label-wrap").all():
        closed.click()
    page.get_by_label("Sentence" if name == "caption" else "Only these phrases").first.wait_for()
    page.wait_for_timeout(600)  # what unfolds fades in, and has no contrast meanwhile
    look_over(page, f"{name}-{scheme}", size)


def look_over(page: Any, name: str, size: dict[str, int]) -> None:
    """Keep a picture of a page, and see that it is not too wide and its names and contrasts are right."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}-{size['width']}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert page.evaluate(CUT_OFF) == []
    page.evaluate(axe_core())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    grave = [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == []


def test_everything_can_be_reached_by_keyboard(page: Any, addresses: dict[str, str]) -> None:
    transcribe_example(page, addresses["speech"])
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(one => one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent)"
                "(document.activeElement).trim().replace(/\\\\s+/g, ' ')"
            )
        )
    for name in ("Transcribe", "Start the microphone", "Text while you speak", "Download json", "Text"):
        assert any(one.startswith(name) for one in reached), (name, reached)
    assert any("Sound picture" in one for one in reached) and any("Recording city" in one for one in reached)


@pytest.mark.slow  # a stopwatch
@pytest.mark.parametrize("name", ["speech", "caption", "lab", "both"])
def test_a_page_can_be_used_two_seconds_after_it_is_asked_for(
    page: Any, addresses: dict[str, str], name: str, record_property: Callable[[str, object], None]
) -> None:
    button = {"caption": "Describe", "lab": "Look into the recogniser"}.get(name, "Transcribe")
    seconds = []
    for _ in range(4):  # the first loads the scripts, too
        started = monotonic()
        open_page(page, addresses[name], button)
        page.get_by_role("button", name=button, exact=True).click(trial=True)
        seconds.append(monotonic() - started)
    record_property("seconds", seconds)
    print(f"{name}: {seconds[0]:.2f} s the first time, then {min(seconds[1:]):.2f} s")
    assert min(seconds) < 2.0


def axe_core() -> str:
    """What finds names and contrasts that are missing."""
    places = [ROOT / "node_modules"]
    if shutil.which("npm"):
        done = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True)
        places.append(Path(done.stdout.strip()))
    for place in places:
        if (script := place / "axe-core" / "axe.min.js").is_file():
            return script.read_text(encoding="utf-8")
    pytest.skip("needs axe-core: npm install --global axe-core")
