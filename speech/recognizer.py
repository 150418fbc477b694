"""The whole recogniser: a recording becomes a transcript.

from speech import Recognizer
print(Recognizer.load().transcribe("talk.mp3").text)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from common.errors import InputError
from common.model_files import find_model, read_model
from speech.alignment import Word, forced_path, words_of_path
from speech.audio import SAMPLE_RATE, load_audio, require_sound
from speech.decoding import Decoder, collapse
from speech.features import FeatureConfig, LogMel
from speech.network import SpeechConfig, SpeechNetwork
from speech.options import DecodingOptions

BUNDLED = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording.

    Attributes:
        text: the words, lower case, without punctuation.
        duration: seconds of the recording.
        words: each word with its time and confidence.
        confidence: mean of the words' confidences, 0 to 1; None where no word was heard.
    """

    text: str
    duration: float
    words: tuple[Word, ...]
    confidence: float | None


class Recognizer:
    """A trained network with all that it needs to be asked.

    Args:
        network: the acoustic model.
        name: the model's name, as it is reported.
        device: where it runs.
    """

    def __init__(self, network: SpeechNetwork, name: str, device: str | torch.device = "cpu") -> None:
        self.network = network.to(device).eval()
        self.name = name
        self.device = torch.device(device)
        self.log_mel = LogMel(network.config.features)
        self._decoder: Decoder | None = None

    @classmethod
    def load(cls, model: str | Path = "english", device: str = "cpu", threads: int = 0) -> Recognizer:
        """Load a bundled model by its name, or any model directory.

        Args:
            model: "english", or the path of a model directory.
            device: where PyTorch runs it: "cpu", "cuda", "mps".
            threads: PyTorch's threads, for the whole process; 0 leaves its own choice.

        Raises:
            InputError: if there is no such model or it cannot be read.
        """
        if threads:
            torch.set_num_threads(threads)
        directory = find_model(model, BUNDLED)
        network = network_from_model(*read_model(directory), directory)
        return cls(network, directory.name, device)

    def transcribe(
        self, source: str | Path | BinaryIO | Tensor, options: DecodingOptions | None = None
    ) -> Transcript:
        """Transcribe one recording.

        Args:
            source: a sound or video file in any usual container, an open binary file, or samples
                (samples,) float32 at 16 kHz mono.
            options: how text is found; None for the defaults.

        Raises:
            InputError: if the file cannot be read or holds no sound.
        """
        return self.transcribe_batch([source], options)[0]

    @torch.inference_mode()
    def transcribe_batch(
        self, sources: Sequence[str | Path | BinaryIO | Tensor], options: DecodingOptions | None = None
    ) -> list[Transcript]:
        """Transcribe recordings together: for many short ones several times faster than one by one.

        Recordings of like length belong in one batch; the shorter ones are padded.

        Raises:
            InputError: if a recording cannot be read or holds no sound.
        """
        recordings = [_samples(source) for source in sources]
        if not recordings:
            return []
        decoder = self.decoder(options or DecodingOptions())
        log_probs, steps = self.emissions([self.log_mel(samples) for samples in recordings])
        return [
            self._transcript(emissions[:length], len(samples) / SAMPLE_RATE, decoder)
            for emissions, length, samples in zip(log_probs, steps.tolist(), recordings, strict=True)
        ]

    @torch.inference_mode()
    def loudness(self, source: str | Path | BinaryIO | Tensor) -> Tensor:
        """The log-mel picture of a recording: (frames, mels) in decibels, low pitches first.

        Arguments and errors as in `transcribe`.
        """
        return self.log_mel.decibels(_samples(source))

    @torch.inference_mode()
    def emissions(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What the network hears in each step.

        Args:
            features: (frames, mels) of each recording, as `log_mel` gives them.

        Returns:
            Log-probabilities (batch, steps, symbols) and the steps of each recording (batch,).
        """
        lengths = torch.tensor([len(one) for one in features])
        padded = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True)
        log_probs, steps = self.network(padded.to(self.device), lengths.to(self.device))
        return log_probs.cpu(), steps.cpu()

    def decoder(self, options: DecodingOptions) -> Decoder:
        """What finds the text; the last one is kept, because it can be costly to make.

        Raises:
            InputError: if an option names what cannot be used.
        """
        if self._decoder is None or self._decoder.options != options:
            self._decoder = Decoder(options)
        return self._decoder

    def _transcript(self, log_probs: Tensor, duration: float, decoder: Decoder) -> Transcript:
        """(steps, symbols) of one recording -> its transcript."""
        if decoder.is_greedy:
            path = log_probs.argmax(dim=-1).tolist()
        else:
            path = forced_path(log_probs, decoder(log_probs)[0].symbols)
        words = words_of_path(path, log_probs, self.network.config.step_seconds)
        confidence = sum(word.confidence for word in words) / len(words) if words else None
        return Transcript(collapse(path), duration, words, confidence)


def _samples(source: str | Path | BinaryIO | Tensor) -> Tensor:
    """The sound of a source, checked: (samples,) float32 at 16 kHz mono."""
    if not isinstance(source, Tensor):
        return load_audio(source)
    require_sound(source, "samples")
    return source


def network_from_model(
    stored: Mapping[str, Any], weights: Mapping[str, Tensor], directory: Path
) -> SpeechNetwork:
    """The network of a model directory, as `read_model` gives it.

    Args:
        stored: the configuration.
        weights: of the network.
        directory: where they come from, for the error.

    Raises:
        InputError: if it is a model of another kind.
    """
    try:
        features = FeatureConfig(**stored["features"])
        symbols, phones = tuple(stored["symbols"]), tuple(stored["phones"])
        shape = {**stored, "symbols": symbols, "phones": phones, "features": features}
        network = SpeechNetwork(SpeechConfig(**shape))
    except (KeyError, TypeError) as error:
        raise InputError(directory, f"is not a speech model: {error}") from error
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:  # it names every weight
        raise InputError(directory, "is not a speech model: config and weights do not match") from error
    return network
