"""The recurrence lab: what recurrent networks do inside, at work and in training."""

from __future__ import annotations

from typing import Any

import gradio as gr

from caption import Captioner
from common.lessons.shapes import SHAPES, UPDATES
from demos import caption_page, speech_page
from demos.lab import (
    DIRECTIONS,
    MOST_SECONDS,
    Registers,
    clipping,
    gradients,
    layer_names,
    read_commands,
    states_of_photograph,
    states_of_recording,
    train_shape,
)
from demos.shell import in_words, page, refuse, scripted
from speech import Recognizer, recording_seconds

TITLE = "Recurrence lab"
INTRODUCTION = (
    "Look into the networks: what they hold over time, how their gates open and close, how far back a "
    "gradient reaches. Small ones are trained while you wait."
)

LEAST_STEPS, MOST_STEPS = 10, 800
RADIUS, KEEPING, NORM = (0.3, 3.0), (-2.0, 6.0), (0.1, 100.0)
MOST_UPDATES = 1000

_LINE = "lab"  # calls with this name wait for one another: they train
_SPEECH_LINE, _CAPTION_LINE = "speech", "caption"  # those of the other pages: the same networks

_RECORDINGS = {
    "city.opus": "“He was born and raised in New York City”",
    "service.opus": "“There is no charge for this service”",
}
_SEQUENCES = {
    "0.8 . . . . . . e . . . . -0.6 . . . . .": "Write, keep, erase, write",
    "0.5 . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . .": "Write and keep for long",
    "0.9 -0.9 0.9 -0.9 . . e e . .": "Write over and over",
}
# Steps, spectral radius, bias of the gate that keeps, norm.
_SETTINGS = {
    (100, 0.6, 1.0, 1.0): "Vanishing: a small radius",
    (100, 2.0, 1.0, 1.0): "Exploding: a large radius",
    (400, 1.0, 5.0, 1.0): "Gates that start open",
}

Figure = dict[str, Any]


def build_app(recognizer: Recognizer, captioner: Captioner) -> gr.Blocks:
    """The page alone; `demos.shell.serve` shows it."""
    app = page(TITLE, INTRODUCTION)
    with app:
        lay_out(recognizer, captioner)
    return app


def lay_out(recognizer: Recognizer, captioner: Captioner) -> None:
    """Put the page's parts into the `gr.Blocks` that is open."""
    lab = LabPage(recognizer, captioner)
    with gr.Tabs(overflow_behavior="wrap"):
        with gr.Tab("A recording"):
            _recording(lab)
        with gr.Tab("A caption"):
            _photograph(lab)
        with gr.Tab("A register"):
            _register(lab)
        with gr.Tab("Gradients"):
            _gradients(lab)
        with gr.Tab("Four shapes"):
            _shapes(lab)


def _recording(lab: LabPage) -> None:
    """What each layer of the recogniser holds, and the gates of one."""
    gr.Markdown(
        "The recogniser's LSTM layers while it hears: hidden vectors over time, and the gates of a layer."
    )
    recording = gr.File(label=f"Recording, up to {MOST_SECONDS:.0f} seconds", height=190)
    with gr.Row():
        layer = gr.Dropdown(lab.layers, value=lab.layers[0], label="Layer whose gates are shown")
        direction = gr.Radio(list(DIRECTIONS), value=DIRECTIONS[0], label="Direction")
    ask = in_words(lab.recording)
    button = gr.Button("Look into the recogniser", variant="primary")
    examples = gr.Column()
    shown = _figure("gates by name, and words")
    inputs = [recording, layer, direction]
    button.click(ask, inputs, shown, api_name="states_of_recording", concurrency_id=_SPEECH_LINE)
    samples = [[str(speech_page.SAMPLES / name), lab.layers[0], DIRECTIONS[0]] for name in _RECORDINGS]
    with examples:
        _examples(samples, inputs, shown, ask, "Recordings to look into", list(_RECORDINGS.values()))


def _photograph(lab: LabPage) -> None:
    """What the captioner's GRU holds from word to word."""
    gr.Markdown("The captioner's GRU while it says a caption: its hidden vector and its gates, word by word.")
    photograph = gr.File(label="Photograph", height=190)
    ask = in_words(lab.photograph)
    button = gr.Button("Look into the captioner", variant="primary")
    examples = gr.Column()
    shown = _figure("gates by name, and words")
    button.click(ask, photograph, shown, api_name="states_of_photograph", concurrency_id=_CAPTION_LINE)
    samples = sorted(caption_page.SAMPLES.glob("*.jpg"))
    names = [path.stem.capitalize() for path in samples]
    with examples:
        _examples(
            [[str(path)] for path in samples], [photograph], shown, ask, "Photographs to look into", names
        )


def _register(lab: LabPage) -> None:
    """Gates of an LSTM and a GRU over a sequence that somebody writes."""
    gr.Markdown(
        "An LSTM and a GRU of six units learn to be a register: a number is written down, `e` erases it, and "
        "at `.` it is kept, while other numbers pass by. They learn when you first ask, which takes seconds."
    )
    sequence = gr.Textbox(
        next(iter(_SEQUENCES)), label="Steps", info="Numbers from -1 to 1, e, and . with spaces between them."
    )
    ask = in_words(lab.register)
    button = gr.Button("Follow the gates", variant="primary")
    examples = gr.Column()
    shown = _figure("what the register should hold, and for each cell what it says and its gates")
    button.click(ask, sequence, shown, api_name="register", concurrency_id=_LINE)
    sequence.submit(ask, sequence, shown, api_visibility="private", concurrency_id=_LINE)
    with examples:
        _examples(
            [[one] for one in _SEQUENCES], [sequence], shown, ask, "Sequences to try", [*_SEQUENCES.values()]
        )


def _gradients(lab: LabPage) -> None:
    """How far back gradients reach, and what clipping does to a run that diverges."""
    gr.Markdown(
        "From the last output back through time: the gradient by each input, for four cells before training. "
        "The spectral radius is that of the plain cells; LSTM and GRU start orthogonal."
    )
    with gr.Row():
        steps = gr.Slider(LEAST_STEPS, MOST_STEPS, 100, step=10, label="Steps of the sequence")
        radius = gr.Slider(*RADIUS, 0.6, step=0.1, label="Spectral radius (tanh, ReLU)")
    with gr.Row():
        keeping = gr.Slider(*KEEPING, 1.0, step=0.5, label="Bias of the gate that keeps")
        norm = gr.Slider(*NORM, 1.0, step=0.1, label="Gradients clipped to norm")
    ask = in_words(lab.gradients)
    with gr.Row():
        button = gr.Button("Measure the gradients", variant="primary")
        train = gr.Button("Train without and with clipping")
    examples = gr.Column()
    shown = _figure("for each cell the factor a step, the verdict, and the gradient 0, 1, 2, ... steps back")
    inputs = [steps, radius, keeping, norm]
    button.click(ask, inputs, shown, api_name="gradients", concurrency_id=_LINE)
    runs = _figure("the losses of both runs; none is what is no number")
    train.click(in_words(lab.clipping), norm, runs, api_name="clipping", concurrency_id=_LINE)
    with examples:
        _examples([[*one] for one in _SETTINGS], inputs, shown, ask, "Settings to try", [*_SETTINGS.values()])


def _shapes(lab: LabPage) -> None:
    """The four topologies, each with a network that is trained here."""
    gr.Markdown("Each shape has a small problem, which it learns here from the beginning, in seconds.")
    shape = gr.Radio(list(SHAPES), value=next(iter(SHAPES)), label="Shape")
    updates = gr.Slider(10, MOST_UPDATES, 300, step=10, label="Updates in training")
    ask = in_words(lab.shape)
    button = gr.Button("Train", variant="primary")
    examples = gr.Column()
    shown = _figure("the share of answers that are right, the losses, and some answers")
    button.click(ask, [shape, updates], shown, api_name="train_shape", concurrency_id=_LINE)
    several = [[name, UPDATES[name]] for name in SHAPES]
    names = [f"{name.capitalize()}, {count} updates" for name, count in UPDATES.items()]
    with examples:
        _examples(several, [shape, updates], shown, ask, "Trainings to try", names)


def _figure(numbers: str) -> gr.HTML:
    """Where a figure appears."""
    return scripted("figure.js", produces=f"html, a figure; numbers: {numbers}")


def _examples(
    samples: list[list[Any]], inputs: list[Any], shown: gr.HTML, ask: Any, label: str, names: list[str]
) -> None:
    """Examples that one click asks about."""
    gr.Examples(
        samples,
        inputs,
        shown,
        ask,
        run_on_click=True,
        cache_examples=False,
        api_visibility="private",
        label=label,
        example_labels=names,
    )


class LabPage:
    """What the page does when it is asked.

    Args:
        recognizer: whose layers are looked into.
        captioner: likewise.
    """

    def __init__(self, recognizer: Recognizer, captioner: Captioner) -> None:
        self.recognizer = recognizer
        self.captioner = captioner
        self.registers = Registers()
        self.layers = layer_names(recognizer)

    def recording(self, recording: str | None, layer: str, direction: str = "forward") -> Figure:
        """Show what each layer of the recogniser holds while it hears, and the gates of one layer.

        Args:
            recording: a sound or video file of up to 30 seconds.
            layer: whose gates are shown: "lower, layer 1" and so on.
            direction: "forward" or "backward".

        Returns:
            `html`, the figure; `numbers`: `seconds`, `words`, and `gates`, of each the mean over the units at
            every step.
        """
        if recording is None:
            refuse("Choose a recording first.")
        seconds = recording_seconds(recording)
        if seconds > MOST_SECONDS:
            refuse(f"The recording has {seconds:.0f} seconds. Choose one of up to {MOST_SECONDS:.0f}.")
        if layer not in self.layers:
            refuse(f"Choose a layer of these: {'; '.join(self.layers)}.")
        if direction not in DIRECTIONS:
            refuse(f"Choose a direction of these: {', '.join(DIRECTIONS)}.")
        return states_of_recording(self.recognizer, recording, layer, direction)

    def photograph(self, photograph: str | None) -> Figure:
        """Show what the captioner's GRU holds while it says what is on a photograph, and its gates.

        Args:
            photograph: a picture file.

        Returns:
            `html`, the figure; `numbers`: `words`, and `gates`, of each the mean over the units at every
            word.
        """
        if photograph is None:
            refuse("Choose a photograph first.")
        return states_of_photograph(self.captioner, photograph)

    def register(self, sequence: str) -> Figure:
        """Follow the gates of an LSTM and a GRU that learned to keep a number.

        Args:
            sequence: steps with spaces between them: a number from -1 to 1 is written, `e` erases, `.` keeps.

        Returns:
            `html`, the figure; `numbers`: `held`, what the register should hold after each step, and for
            `lstm` and `gru` what it `said` and each gate of the unit that holds the number.
        """
        try:
            commands = read_commands(sequence)
        except ValueError as error:
            refuse(str(error))
        return self.registers.follow(commands)

    def gradients(self, steps: float, radius: float = 0.6, keeping: float = 1.0, norm: float = 1.0) -> Figure:
        """Measure how far back the gradient of the last output reaches in four cells.

        Args:
            steps: of the sequence, 10 to 800.
            radius: spectral radius with which the plain cells start, 0.3 to 3.
            keeping: bias of the LSTM's forget gate and the GRU's update gate, -2 to 6.
            norm: to which the gradient by the weights is clipped, 0.1 to 100.

        Returns:
            `html`, the figure; `numbers`: for each cell the `factor` a step, the `verdict`, and the
            `profile`, the gradient 0, 1, 2, ... steps back.
        """
        _within(steps, LEAST_STEPS, MOST_STEPS, "a length in steps")
        _within(radius, *RADIUS, "a spectral radius")
        _within(keeping, *KEEPING, "a bias")
        _within(norm, *NORM, "a norm")
        return gradients(int(steps), radius, keeping, norm)

    def clipping(self, norm: float = 1.0) -> Figure:
        """Train a network whose gradients explode, without clipping them and with it.

        Args:
            norm: to which gradients are clipped, 0.1 to 100.

        Returns:
            `html`, the figure; `numbers`: the losses of both runs, none for what is no number.
        """
        _within(norm, *NORM, "a norm")
        return clipping(norm)

    def shape(self, shape: str, updates: float = 300) -> Figure:
        """Train a small network of one of the four shapes, and ask it what it never learned.

        Args:
            shape: "aligned", "to a vector", "from a vector" or "encoder-decoder".
            updates: of training, 10 to 1000.

        Returns:
            `html`, the figure; `numbers`: the share of answers that are `right`, the `losses`, and some
            `answers` with what was `read`, `said` and is `right`.
        """
        if shape not in SHAPES:
            refuse(f"Choose a shape of these: {', '.join(SHAPES)}.")
        _within(updates, 10, MOST_UPDATES, "a number of updates")
        return train_shape(shape, int(updates))


def _within(value: float, low: float, high: float, what: str) -> None:
    """An error if a number is beyond its bounds, or none."""
    if not low <= value <= high:
        refuse(f"Choose {what} from {low:g} to {high:g}.")
