"""The whole captioner: a photograph becomes a sentence.

from caption import Captioner
print(Captioner.load().describe("photo.jpg").text)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caption.bundled import BUNDLED
from caption.images import SIZE, Source, is_blank, load_image
from caption.model.doubt import says_less
from caption.model.naming import insisted
from caption.model.network import CaptionConfig, CaptionNetwork, Decoder, DecoderState, Scene
from caption.model.text import END, START, UNKNOWN, Vocabulary, tokenize
from caption.options import DescribeOptions
from caption.output.attention import Glance, glances
from common.core.quantized import can_multiply_in_8_bits
from common.core.search import BeamOptions, Hypothesis, beam_search, sample
from common.errors import InputError, OptionError
from common.models.building import fitting_network, require_sizes
from common.models.fields import dataclass_from
from common.models.files import find_model, read_model
from common.stages import NETWORK, SEARCH, stage

Picture = Source | Tensor


@dataclass(frozen=True)
class Caption:
    """What was seen on a photograph.

    Attributes:
        text: the caption, lower case; empty if there is nothing to see (see `NOTHING`).
        log_prob: natural logarithm of its probability.
        confidence: geometric mean of its words' probabilities, 0 to 1.
        alternatives: the runners-up, best first, themselves without runners-up.
    """

    text: str
    log_prob: float
    confidence: float
    alternatives: tuple[Caption, ...] = ()

    def to_json(self, path: str = "") -> str:
        """Everything that is known, as one JSON object on a line, with the path that the picture has."""
        from caption.output.writers import as_json

        return as_json(path, self)


# What is said of a picture of one colour: the network would make up a story.
NOTHING = Caption("", 0.0, 0.0)


class Captioner:
    """A trained network with all that it needs to be asked.

    Args:
        network: encoder and decoder.
        name: the model's name, as it is reported.
        device: where it runs.
    """

    def __init__(self, network: CaptionNetwork, name: str, device: str | torch.device = "cpu") -> None:
        self.network = network.to(device).eval()
        self.name = name
        self.device = torch.device(device)
        self.vocabulary = Vocabulary(network.config.words, network.config.kinds)

    @classmethod
    def load(
        cls, model: str | Path = "photos", device: str = "cpu", threads: int = 1, in_8_bits: bool = True
    ) -> Captioner:
        """Load a bundled model by its name, or any model directory.

        Args:
            model: "photos", or the path of a model directory.
            device: where PyTorch runs it: "cpu", "cuda", "mps".
            threads: PyTorch's threads, for the whole process; 0 leaves its own choice.
            in_8_bits: whether the decoder steps in 8 bits, where the processor can: twice as fast, each
                log-probability a few hundredths off.

        Raises:
            InputError: if there is no such model or it cannot be read.
        """
        if threads:
            torch.set_num_threads(threads)
        directory = find_model(model, BUNDLED)
        network = network_from_model(*read_model(directory), directory)
        network.encoder.fold()
        if in_8_bits and can_multiply_in_8_bits(torch.device(device)):
            network.decoder.step_in_8_bits()
        return cls(network, directory.name, device)

    def describe(self, picture: Picture, options: DescribeOptions | None = None) -> Caption:
        """Describe one photograph; what is black, blank or all of one colour gets an empty caption.

        Args:
            picture: the path of a picture file, an open binary file, a file's bytes, a Pillow image, an array
                (height, width, 3) of uint8 or of floating-point numbers from 0 to 1, or a uint8 tensor (3,
                224, 224).
            options: how to search; None for the defaults.

        Raises:
            InputError: if the picture cannot be read.
            TypeError, ValueError: if it is nothing of these.
        """
        return self.describe_batch([picture], options)[0]

    @torch.inference_mode()
    def describe_batch(
        self, pictures: Sequence[Picture], options: DescribeOptions | None = None
    ) -> list[Caption]:
        """Describe photographs together; arguments and errors as in `describe`."""
        options = options or DescribeOptions()
        prefix = self._prefix(options.prefix)
        loaded = [_loaded(one) for one in pictures]
        blank = [is_blank(one) for one in loaded]
        if all(blank):
            return [NOTHING] * len(loaded)
        with stage(NETWORK):
            grid = self._grid([one for one, nothing in zip(loaded, blank, strict=True) if not nothing])
        with stage(SEARCH):
            captions = self._captions(grid, options, prefix)
        left = iter(captions)
        return [NOTHING if nothing else next(left) for nothing in blank]

    def _captions(self, grid: Tensor, options: DescribeOptions, prefix: Sequence[int]) -> list[Caption]:
        """The captions of pictures by what the encoder sees and what it believes."""
        decoder = self.network.decoder
        scene = decoder.look(grid)
        found = search(decoder, scene, options, prefix)
        if prefix or options.nucleus or not self.network.config.classes:
            return [self._caption(prefix, hypotheses) for hypotheses in found]
        names = decoder.concepts.name(grid)
        if options.insist:
            beam = _beam_options(decoder, options, len(prefix))
            found = insisted(decoder, scene, found, names, self.vocabulary, beam, options.insist)
        captions = [self._caption(prefix, hypotheses) for hypotheses in found]
        named = zip(captions, names, strict=True)
        return [_doubted(caption, *name, options.doubt) for caption, name in named]

    @torch.inference_mode()
    def look(self, pictures: Sequence[Picture]) -> Scene:
        """What captions of these pictures are made from: all that the decoder is told of them."""
        return self.network.decoder.look(self._grid(pictures))

    def _grid(self, pictures: Sequence[Picture]) -> Tensor:
        """What the encoder sees in these pictures: (pictures, positions, channels)."""
        stacked = torch.stack([_loaded(one) for one in pictures])
        return self.network.encoder.in_turn(stacked.to(self.device))

    def _known_words(self, sentence: str) -> list[int]:
        """The symbols of the words of a sentence that the captioner knows."""
        return [symbol for symbol in self.vocabulary.encode(sentence) if symbol != UNKNOWN]

    def _prefix(self, words: str) -> list[int]:
        """The symbols of the words that a caption should begin with.

        Raises:
            InputError: if the captioner does not know one of them.
        """
        unknown = self.unknown_words(words)
        if unknown:
            raise OptionError("prefix", f"the captioner never learned: {', '.join(unknown)}")
        return self.vocabulary.encode(words)

    def glances(self, picture: Picture, caption: str) -> list[Glance]:
        """Where the captioner looks while it says each word of a caption of this photograph.

        Args:
            picture: as in `describe`.
            caption: its own or anybody's; words that it does not know are passed over.

        Raises:
            InputError: if the picture cannot be read.
        """
        return glances(self.network, _loaded(picture), self._known_words(caption))

    @torch.inference_mode()
    def log_likelihoods(self, sentence: str, pictures: Sequence[Picture]) -> list[float]:
        """How well a sentence fits each photograph: log p(sentence | photograph), in nats a word.

        Those of several photographs can be compared, and so a folder can be searched: the captioner asked
        the other way round.

        Args:
            sentence: words that the captioner does not know are passed over (see `unknown_words`).
            pictures: as in `describe`.

        Raises:
            InputError: if the captioner knows no word of the sentence, or a picture cannot be read.
        """
        self._sought(sentence)
        return self.scene_log_likelihoods(sentence, self.look(pictures)) if pictures else []

    def _sought(self, sentence: str) -> list[int]:
        """The symbols by which a sentence is searched for; an `InputError` if there are none."""
        words = self._known_words(sentence)
        if not words:
            raise InputError(repr(sentence), "holds no word that the captioner knows")
        return words

    @torch.inference_mode()
    def scene_log_likelihoods(self, sentence: str, scene: Scene) -> list[float]:
        """As `log_likelihoods`, for pictures that were looked at before."""
        words, pictures = self._sought(sentence), len(scene.first)
        spoken = torch.tensor([START, *words], device=self.device).expand(pictures, -1)
        following = torch.tensor([*words, END], device=self.device).expand(pictures, -1)
        logits = self.network.decoder(scene, spoken)  # (pictures, steps, words)
        log_probs = self.network.decoder.speakable(logits)
        values = log_probs.gather(-1, following.unsqueeze(-1)).squeeze(-1)
        return [float(value) for value in values.mean(dim=1)]

    def unknown_words(self, sentence: str) -> list[str]:
        """The words of a sentence that the captioner never learned."""
        return [word for word in tokenize(sentence) if word not in self.vocabulary.words]

    def _caption(self, prefix: Sequence[int], hypotheses: Sequence[Hypothesis]) -> Caption:
        """The hypotheses of one picture, best first -> its caption with runners-up."""
        captions = [
            Caption(
                self.vocabulary.decode((*prefix, *one.symbols)),
                one.log_prob,
                math.exp(one.log_prob / max(1, len(one.log_probs))),
            )
            for one in hypotheses
        ]
        best = captions[0]
        return Caption(best.text, best.log_prob, best.confidence, tuple(captions[1:]))


def _doubted(caption: Caption, noun: str, probability: float, doubt: float) -> Caption:
    """The caption, or one that says less, with the doubted one among its runners-up."""
    less = says_less(caption.text, caption.confidence, noun, probability, doubt)
    if less is None:
        return caption
    runners_up = (dataclasses.replace(caption, alternatives=()), *caption.alternatives[:-1])
    return Caption(less, math.log(probability), probability, runners_up)


def _loaded(picture: Picture) -> Tensor:
    """A picture as the network takes it: uint8 (3, 224, 224)."""
    if not isinstance(picture, Tensor):
        return load_image(picture)
    if picture.dtype != torch.uint8 or picture.shape != (3, SIZE, SIZE):
        raise ValueError(f"a tensor is uint8 (3, {SIZE}, {SIZE}), not {picture.dtype} {tuple(picture.shape)}")
    return picture


def search(
    decoder: Decoder, scene: Scene, options: DescribeOptions, prefix: Sequence[int] = ()
) -> list[list[Hypothesis]]:
    """The likeliest captions of every picture of a scene, or some that are drawn, best first.

    Args:
        decoder: says the next word.
        scene: of the pictures.
        options: how to search; its own `prefix` has become symbols.
        prefix: symbols that every caption begins with; they are not in the hypotheses.
    """
    beam = _beam_options(decoder, options, len(prefix))
    if options.nucleus:
        found = _draw(decoder, scene, options, prefix, beam.most_steps)
    else:
        found = _search(decoder, scene, beam, prefix)
    most = beam.most_steps - 1
    # A caption that the limit cut off has one word more, where its end could have been.
    return [
        [
            dataclasses.replace(
                one, symbols=one.symbols[:most], log_probs=one.log_probs[: most + one.finished]
            )
            for one in hypotheses
        ]
        for hypotheses in found
    ]


def _beam_options(decoder: Decoder, options: DescribeOptions, said: int) -> BeamOptions:
    """How to search for what follows so many words."""
    most = max(0, options.most_words - said)
    return BeamOptions(
        width=options.beam,
        most_steps=most + 1,
        least_steps=min(max(0, options.fewest_words - said), most),
        length_power=options.length_power,
        no_repeat=options.no_repeat,
        once=decoder.nouns,
    )


def _search(
    decoder: Decoder, scene: Scene, beam: BeamOptions, prefix: Sequence[int]
) -> list[list[Hypothesis]]:
    """The likeliest captions, as many as the beam is wide."""
    pictures = len(scene.first)
    begun, state = _begin(decoder, decoder.begin(scene), prefix, pictures)
    device = scene.first.device
    return beam_search(decoder.step, decoder.reorder, state, pictures, begun, END, beam, device)


def _draw(
    decoder: Decoder, scene: Scene, options: DescribeOptions, prefix: Sequence[int], most_steps: int
) -> list[list[Hypothesis]]:
    """As many captions a picture as the beam is wide, drawn word by word; the likeliest a word first."""
    pictures, captions = len(scene.first), options.beam
    begun, state = _begin(decoder, decoder.begin(scene, captions), prefix, pictures * captions)
    drawn = sample(
        decoder.step,
        state,
        pictures * captions,
        begun,
        END,
        torch.Generator().manual_seed(options.seed),
        most_steps=most_steps,
        temperature=options.temperature,
        nucleus=options.nucleus,
        device=scene.first.device,
    )
    several = [drawn[start : start + captions] for start in range(0, len(drawn), captions)]
    return [sorted(one, key=lambda found: -found.log_prob / max(1, len(found.log_probs))) for one in several]


def _begin(
    decoder: Decoder, state: DecoderState, prefix: Sequence[int], captions: int
) -> tuple[int, DecoderState]:
    """Say the prefix: the symbol that stands last, still to be read, and the state before it."""
    begun = START
    for symbol in prefix:
        said = torch.full((captions,), begun, device=state.attention.device)
        _, state = decoder.step(said, state)
        begun = symbol
    return begun, state


def network_from_model(
    stored: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    directory: Path,
    dropout: float | None = None,
) -> CaptionNetwork:
    """The network of a model directory, as `read_model` gives it.

    Args:
        stored: the configuration.
        weights: of encoder and decoder.
        directory: where they come from, for the error.
        dropout: in place of the stored one.

    Raises:
        InputError: if it is a model of another kind.
    """
    kind = "a captioning model"
    require_sizes(stored, weights, directory, kind)
    changed = {} if dropout is None else {"dropout": dropout}
    try:
        config: CaptionConfig = dataclass_from(CaptionConfig, {**stored, **changed})
    except (ValueError, InputError) as error:
        raise InputError(directory, f"is not {kind}: {error}") from error
    return fitting_network(lambda: CaptionNetwork(config), weights, directory, kind)
