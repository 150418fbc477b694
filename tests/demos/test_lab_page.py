"""The recurrence lab: what it shows is what the networks do, and what it cannot do it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from tiny_models import tiny
from web import client_of

from caption import Captioner
from common.core.recurrent import RecurrentStack
from common.lessons.shapes import SHAPES
from demos import caption_page, lab_page
from demos.figures import chart, figure, liveliest, shades, table, ticks
from demos.lab import Registers, layer_names, layers_of, read_commands
from demos.lab_page import LabPage
from demos.shell import serve
from speech import load_audio


@pytest.fixture(scope="module")
def client(captioner: Captioner) -> Iterator[Client]:
    address, close = serve(lambda: lab_page.build_app(tiny(), captioner), block=False)
    yield client_of(address)
    close()


@pytest.fixture(scope="module")
def lab(captioner: Captioner) -> LabPage:
    return LabPage(tiny(), captioner)


def test_endpoints_are_named_and_documented(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    names = "states_of_recording states_of_photograph register gradients clipping train_shape".split()
    assert set(endpoints) == {f"/{name}" for name in names}
    assert all(one["description"] for one in endpoints.values())
    assert all(given["label"] for one in endpoints.values() for given in one["parameters"])


def test_a_program_gets_the_gates_of_a_layer_at_every_step(client: Client, recording: Path) -> None:
    file = handle_file(recording)
    asked = {
        direction: client.predict(file, "upper, layer 1", direction, api_name="/states_of_recording")
        for direction in ("forward", "backward")
    }
    numbers = {direction: answer["numbers"] for direction, answer in asked.items()}
    assert numbers["forward"]["seconds"] == pytest.approx(1.5)
    gates = numbers["forward"]["gates"]
    steps = {len(values) for values in gates.values()}
    assert set(gates) == {"input", "forget", "output"} and len(steps) == 1
    assert steps.pop() in (18, 19, 20)  # of 80 ms
    assert all(0.0 < value < 1.0 for values in gates.values() for value in values)
    assert numbers["backward"]["gates"] != gates
    assert asked["forward"]["html"].count("Hidden vectors") == 2 * 2  # a heading and a region's name each


def test_what_is_shown_of_a_layer_is_what_it_gave_to_the_next(recording: Path) -> None:
    recognizer = tiny()
    network, outputs = recognizer.acoustic.network, {}

    def note(stack: RecurrentStack, given: Any, output: Any) -> None:
        outputs[stack] = output[0]

    from common.core.gates import readings

    for stack in (network.lower, network.upper.stack):
        stack.register_forward_hook(note)
    with torch.no_grad(), readings(network) as found:
        recognizer.acoustic.log_probs([recognizer.acoustic.log_mel(load_audio(recording))])
        assert layer_names(recognizer) == ["lower, layer 1", "upper, layer 1"]
    with torch.no_grad():
        layers = layers_of(network, found)
    assert [layer.name for layer in layers] == layer_names(recognizer)
    for layer, stack in zip(layers, (network.lower, network.upper.stack), strict=True):
        hidden = torch.cat([trace["hidden"] for trace in layer.traces], dim=-1)
        torch.testing.assert_close(hidden, outputs[stack][:1].float(), atol=0.02, rtol=0.02)  # or in bfloat16


def test_the_captioners_gates_have_a_value_for_every_word(client: Client, captioner: Captioner) -> None:
    photograph = caption_page.SAMPLES / "cat.jpg"
    answer = client.predict(handle_file(photograph), api_name="/states_of_photograph")
    words = captioner.describe(photograph).text.split()
    assert answer["numbers"]["words"] == words
    assert {name: len(values) for name, values in answer["numbers"]["gates"].items()} == {
        "update": len(words),
        "reset": len(words),
    }


def test_a_register_that_learned_follows_what_is_written() -> None:
    registers = Registers(updates=250)
    numbers = registers.follow(read_commands("0.8 . . e . -0.5 ."))["numbers"]
    assert numbers["held"] == [0.8, 0.8, 0.8, 0.0, 0.0, -0.5, -0.5]
    said = torch.tensor(numbers["lstm"]["said"])
    assert float((said - torch.tensor(numbers["held"])).abs().mean()) < 0.25
    forget = numbers["lstm"]["forget"]
    assert min(forget[1], forget[2]) > max(forget[0], forget[3], forget[5])  # open to keep, else closed


@pytest.mark.parametrize("text", ["", "0.5 x", "1.5", "nan", " ".join(["."] * 61)])
def test_steps_that_cannot_be_read_are_told_what_is_right(lab: LabPage, text: str) -> None:
    with pytest.raises(gr.Error, match=r"from -1 to 1|for example"):
        lab.register(text)


def test_gradients_vanish_explode_and_reach(lab: LabPage) -> None:
    small, large = lab.gradients(60, 0.5, 4.0)["numbers"], lab.gradients(60, 3.0, 4.0)["numbers"]
    assert small["tanh"]["verdict"] == small["ReLU"]["verdict"] == "vanishes"
    assert large["ReLU"]["verdict"] == "explodes"
    assert small["LSTM"] == large["LSTM"] and small["LSTM"]["verdict"] == "reaches"
    assert len(small["GRU"]["profile"]) == 60 and small["GRU"]["profile"][0] == 1.0


def test_clipping_tames_what_diverges(lab: LabPage) -> None:
    numbers = lab.clipping(1.0)["numbers"]
    wild, tame = numbers["without clipping"], numbers["clipped to norm 1"]
    assert wild[0] == tame[0]
    assert wild[-1] is None or wild[-1] > 10.0 * wild[0]
    assert tame[-1] < 0.3 * tame[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_trained_and_asked(lab: LabPage, shape: str) -> None:
    before = torch.get_rng_state()
    answer = lab.shape(shape, 10)
    assert len(answer["numbers"]["losses"]) == 10 and 0.0 <= answer["numbers"]["right"] <= 1.0
    assert answer["html"].count("<tr>") == 1 + len(answer["numbers"]["answers"]) == 9
    assert answer == lab.shape(shape, 10)  # drawn alike every time
    assert torch.equal(before, torch.get_rng_state())


def test_what_is_beyond_its_bounds_is_refused_with_them(client: Client, lab: LabPage) -> None:
    for ask, told in (
        (lambda: lab.gradients(5000), "from 10 to 800"),
        (lambda: lab.gradients(100, 9.0), "from 0.3 to 3"),
        (lambda: lab.gradients(100, 0.6, float("nan")), "from -2 to 6"),
        (lambda: lab.clipping(0.0), "from 0.1 to 100"),
        (lambda: lab.shape("round"), "aligned"),
        (lambda: lab.shape("aligned", 10**6), "from 10 to 1000"),
        (lambda: lab.recording(None, ""), "Choose a recording"),
        (lambda: lab.photograph(None), "Choose a photograph"),
    ):
        with pytest.raises(gr.Error, match=told):
            ask()
    with pytest.raises(AppError, match="maximum value 800"):
        client.predict(10**6, api_name="/gradients")


def test_recordings_that_are_too_long_or_asked_for_unknown_layers_are_refused(
    lab: LabPage, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(gr.Error, match="lower, layer 1; upper, layer 1"):
        lab.recording(str(recording), "lower, layer 7")
    with pytest.raises(gr.Error, match="forward, backward"):
        lab.recording(str(recording), "lower, layer 1", "sideways")
    monkeypatch.setattr("demos.lab_page.MOST_SECONDS", 1.0)
    with pytest.raises(gr.Error, match=r"has 2 seconds\. Choose one of up to 1"):
        lab.recording(str(recording), "lower, layer 1")


def test_every_box_has_a_label_and_every_example_a_name(captioner: Captioner) -> None:
    blocks = list(lab_page.build_app(tiny(), captioner).blocks.values())
    boxes = [
        one for one in blocks if isinstance(one, gr.Textbox | gr.File | gr.Slider | gr.Radio | gr.Dropdown)
    ]
    assert len(boxes) > 8 and all(box.label and box.show_label is not False for box in boxes)
    examples = [one for one in blocks if isinstance(one, gr.Dataset)]
    assert len(examples) == 5
    assert all(one.sample_labels is not None and all(one.sample_labels) for one in examples)


# --- figures -----------------------------------------------------------------------------------------


def test_a_line_ends_where_its_values_are_no_number_and_stays_on_the_axes() -> None:
    drawn = chart({"one": [1e-20, 1.0, float("nan"), 1.0], "two": [1.0] * 4}, "steps", 1e-6, 1e6, powers=True)
    first, second = re.findall(r'points="([^"]*)"', drawn)[:2]
    assert len(first.split()) == 2 and len(second.split()) == 4
    heights = [float(point.split(",")[1]) for point in first.split()]
    assert heights[0] > heights[1] and max(heights) <= 260


def test_names_are_text_and_no_markup() -> None:
    name = "<b>&"
    for drawn in (
        figure(name, "", name),
        chart({name: [0.0, 1.0]}, name, 0.0, 1.0),
        ticks([name], [0.5]),
        table([name], [[name, name]]),
        shades(torch.zeros(1, 2).numpy(), name, True, [name]),
    ):
        assert "<b>" not in drawn and "&lt;b&gt;&amp;" in drawn


def test_the_units_that_change_most_are_kept_in_the_order_of_their_peaks() -> None:
    values = torch.tensor([[0.0, 0.0, 0.9], [0.5, 0.5, 0.5], [0.0, -0.8, 0.0]]).numpy()
    assert liveliest(values, 2).tolist() == [values[2].tolist(), values[0].tolist()]
