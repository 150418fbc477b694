"""Training a captioner: captioned photographs in, a model directory out.

Up to four stages, each from the best model of the one before it. The decoder reads captions without pictures;
it learns beside an encoder that stands still, what this sees being worked out once; then both learn; then the
decoder says captions of its own, and those that agree with people's more than their siblings do become
likelier.
"""

from __future__ import annotations

import copy
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caption.bundled import BUNDLED
from caption.captioner import network_from_model
from caption.data import Photograph, Pictures, cache_grids, cache_pictures, plain_only, read_photographs
from caption.model.encoder import EncoderConfig, imagenet_classifier, load_imagenet, load_torchvision
from caption.model.network import CaptionConfig, CaptionNetwork, Decoder
from caption.model.nouns import class_nouns
from caption.model.text import Vocabulary
from caption.options import TrainOptions
from caption.training.batches import TrainingPhotographs, TrainingText, Views, encode_captions
from caption.training.learning import CaptionModule, DevSet, Stage, grid_of
from common.errors import InputError, OptionError
from common.files import file_identity
from common.models.files import find_model, read_model, write_model
from common.training.batches import ResumableBatches
from common.training.loop import FitOptions, fit
from common.training.processes import require_alone
from common.training.run_record import RunRecord, run_record


def train(options: TrainOptions) -> None:
    """Train a captioner, or go on where the run directory stands; the best is in `run/best`.

    Raises:
        InputError: if a manifest, a photograph, the model to start from or the run cannot be used.
    """
    require_alone()
    if options.threads:
        torch.set_num_threads(options.threads)
    photographs = [plain_only(read_photographs(manifest), options.plain_only) for manifest in options.train]
    dev = {manifest.stem: read_photographs(manifest) for manifest in options.dev}
    seen = [photograph for several in (*photographs, *dev.values()) for photograph in several]
    record = run_record(options.run, options, ((one, file_identity(Path(one.path))) for one in seen))
    best = None if options.init is None else find_model(options.init, BUNDLED)
    for stage in _stages(options):
        directory = options.run / stage.name
        finished = directory / "finished"
        if not finished.is_file():
            torch.manual_seed(options.seed)
            network = _network(options, stage, [one for several in photographs for one in several], best)
            _train_stage(network, stage, photographs, dev, options, record)
            finished.touch()
        best = directory / "best"
    if best is None:
        raise InputError(options.run, "nothing to train: every stage has 0 epochs")
    config, weights = read_model(best)
    write_model(options.run / "best", config, weights, (best / "README.md").read_text(encoding="utf-8"))


def _train_stage(
    network: CaptionNetwork,
    stage: Stage,
    manifests: list[list[Photograph]],
    dev: Mapping[str, list[Photograph]],
    options: TrainOptions,
    record: RunRecord,
) -> None:
    """One stage: its best model so far is always in `run/<stage>/best`."""
    photographs = [one for several in manifests for one in several]
    vocabulary = Vocabulary(network.config.words, network.config.kinds)
    said = [encode_captions(photograph, vocabulary, network.config.kinds) for photograph in photographs]
    dev_sets = [
        DevSet(name, several, _dev_views(network, stage, several, options)) for name, several in dev.items()
    ]
    if stage.name == "text":
        batches = _text_batches(network, stage, dev_sets, vocabulary, options)
        module = CaptionModule(network, stage, dev_sets, said, options)
    else:
        views = _views(network, stage, manifests, options)
        before = None
        if stage.encoder_share and options.forgetting_weight:
            before = _class_logits(network, photographs, views, options)
        passes = _passes(options.passes)
        shown = TrainingPhotographs(photographs, said, views, stage.batch_size, passes=passes)
        batches = ResumableBatches(shown.plan, shown.collate, options.seed)
        teach = () if stage.name == "reward" else options.teachers
        teachers = [_teacher(network, stage, one) for one in teach]
        module = CaptionModule(network, stage, dev_sets, said, options, teachers, before)
    fit(
        module,
        batches,
        FitOptions(
            run=options.run / stage.name,
            epochs=stage.epochs,
            seed=options.seed,
            precision=options.precision,
            average_decay=options.average_decay,
            device=options.device,
        ),
        record=record,
    )


def _stages(options: TrainOptions) -> list[Stage]:
    """The stages that the options ask for."""
    size, dropout, part = options.batch_size, options.dropout, options.encoder_part
    stages = [
        Stage("text", options.text_epochs, options.text_rate, 0.0, options.text_batch_size, dropout, part),
        Stage("decoder", options.decoder_epochs, options.decoder_rate, 0.0, size, dropout, part),
        Stage(
            "everything",
            options.everything_epochs,
            options.everything_rate,
            options.encoder_share,
            size,
            dropout,
            part,
        ),
        Stage(
            "reward",
            options.reward_epochs,
            options.reward_rate,
            options.reward_encoder_share,
            options.reward_batch_size,
            options.reward_dropout,
            part,
        ),
    ]
    return [stage for stage in stages if stage.epochs > 0]


def _passes(texts: Sequence[str]) -> dict[str, float]:
    """`SOURCE=TIMES` as numbers.

    Raises:
        InputError: if one is not written so.
    """
    passes = {}
    for text in texts:
        source, _, times = text.rpartition("=")
        try:
            passes[source] = float(times)
        except ValueError as error:
            raise OptionError("passes", f"{text!r} is not SOURCE=TIMES") from error
    return passes


def _text_batches(
    network: CaptionNetwork,
    stage: Stage,
    dev: Sequence[DevSet],
    vocabulary: Vocabulary,
    options: TrainOptions,
) -> ResumableBatches[Any]:
    """The captions without pictures; how much is believed comes from pictures of the dev sets.

    Raises:
        InputError: if there is no such text, or nothing is believed.
    """
    if options.text is None or not network.config.classes:
        raise OptionError("text_epochs", "needs a text, and beliefs above 0")
    said = [vocabulary.encode(line)[:_LONGEST_TEXT] for line in read_text(options.text)]
    profiles = []
    with torch.inference_mode():
        for one in dev:
            views = torch.from_numpy(np.array(one.views[:_PROFILES]))
            believed = network.decoder.concepts(grid_of(network, views)).log_probs
            profiles.append(believed.sort(dim=-1, descending=True).values.numpy())
    text = TrainingText(
        [one for one in said if one],
        network.decoder.concepts.symbols.tolist(),
        np.concatenate(profiles),
        stage.batch_size,
        options.text_captions,
    )
    return ResumableBatches(text.plan, text.collate, options.seed)


# Words after which a caption without a picture is cut; pictures of a dev set that show how much is believed.
_LONGEST_TEXT = 18
_PROFILES = 200


def read_text(path: Path) -> list[str]:
    """The lines of a text file, which may be compressed (.xz).

    Raises:
        InputError: if it cannot be read.
    """
    try:
        data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        return data.decode("utf-8").splitlines()
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read as text: {error}") from error


def _views(
    network: CaptionNetwork, stage: Stage, manifests: list[list[Photograph]], options: TrainOptions
) -> Views | tuple[Views, Views]:
    """What the network is shown in a stage: (straight, mirrored), as far as it stands still, or pictures.

    There is a cache for each manifest, so that another one does not cost them all.
    """

    def chain(cache: Callable[[list[Photograph]], NDArray[Any]]) -> Views:
        return [row for several in manifests for row in cache(several)]

    if options.encoder_part == "upper" or stage.name == "decoder":
        straight = chain(lambda several: _seen(network, several, options))
        if not options.mirrored:
            return straight, straight
        return straight, chain(lambda several: _seen(network, several, options, flipped=True))
    return chain(lambda several: cache_pictures(several, options.cache))


def _dev_views(
    network: CaptionNetwork, stage: Stage, photographs: list[Photograph], options: TrainOptions
) -> NDArray[Any]:
    """The same for photographs that are measured on, never mirrored."""
    if options.encoder_part == "upper" or not stage.encoder_share:
        return _seen(network, photographs, options)
    return cache_pictures(photographs, options.cache)


def _seen(
    network: CaptionNetwork, photographs: list[Photograph], options: TrainOptions, flipped: bool = False
) -> NDArray[np.float16]:
    """What the part of the encoder that stands still makes of photographs; from the cache if it is there."""
    upper = options.encoder_part == "upper"
    weights = network.encoder.lower_state() if upper else network.encoder.state_dict()
    encoder = copy.deepcopy(network.encoder).to("cuda" if options.device == "cuda" else "cpu").eval()
    encoder.fold()
    work: Callable[[Tensor], Tensor] = encoder.lower_in_turn if upper else encoder.in_turn

    def encode(batch: Tensor) -> Tensor:
        return work(batch.to(encoder.mean.device)).cpu()

    return cache_grids(encode, weights, photographs, Pictures(photographs), options.cache, flipped)


def _class_logits(
    network: CaptionNetwork,
    photographs: list[Photograph],
    views: Views | tuple[Views, Views],
    options: TrainOptions,
) -> NDArray[np.float16]:
    """What the encoder's classifier says of photographs as the network stands: (photographs, classes).

    Raises:
        InputError: if it has none.
    """
    if not network.config.classes:
        raise OptionError("forgetting_weight", "needs a model with beliefs")
    network.eval()
    shown = views[0] if isinstance(views, tuple) else views

    def classify(batch: Tensor) -> Tensor:
        return network.decoder.concepts.classify(grid_of(network, batch)).cpu()

    weights = {**network.encoder.state_dict(), **network.decoder.concepts.state_dict()}
    return cache_grids(classify, weights, photographs, shown, options.cache)


def _teacher(network: CaptionNetwork, stage: Stage, directory: Path) -> CaptionNetwork:
    """A network to learn from.

    Raises:
        InputError: if it speaks in other words or, where only grids are shown, was made for other grids.
    """
    directory = find_model(directory, BUNDLED)
    teacher = network_from_model(*read_model(directory), directory).eval().requires_grad_(False)
    if teacher.config.words != network.config.words:
        raise InputError(directory, "cannot teach: it was trained for other words")
    if stage.name == "decoder":
        ours, theirs = network.encoder.state_dict(), teacher.encoder.state_dict()
        # What is stored is rounded to half precision.
        alike = ours.keys() == theirs.keys() and all(
            torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-4) for name in ours
        )
        if not alike:
            raise InputError(directory, "cannot teach in the first stage: its encoder is another one")
    return teacher


def _network(
    options: TrainOptions, stage: Stage, photographs: list[Photograph], init: Path | None
) -> CaptionNetwork:
    """A network to start a stage with: that of a model directory, or a new decoder."""
    if init is not None:
        return network_from_model(*read_model(init), init, dropout=stage.dropout)
    said = [caption for photograph in photographs for caption in photograph.captions]
    if options.text is not None:
        said += read_text(options.text)
    vocabulary = Vocabulary.of(said, options.least_count, options.vocabulary_size, options.kinds)
    network = CaptionNetwork(
        CaptionConfig(
            words=vocabulary.words,
            encoder=EncoderConfig.of(options.encoder),
            attention=options.attention,
            hidden_size=options.hidden_size,
            dropout=stage.dropout,
            kinds=vocabulary.kinds,
            classes=class_nouns() if options.beliefs else (),
            beliefs=options.beliefs,
        )
    )
    if options.encoder_weights == "torchvision":
        load_torchvision(network.encoder)
    elif options.encoder_weights is not None:
        load_imagenet(network.encoder, options.encoder_weights)
        if options.beliefs:
            network.decoder.concepts.classifier.load_state_dict(imagenet_classifier(options.encoder_weights))
    if options.decoder_from is not None:
        take_over(network.decoder, options.decoder_from)
    return network


def take_over(decoder: Decoder, directory: Path) -> None:
    """Start a decoder from another one's weights: those of like shape, and those of each word that both know.

    Raises:
        InputError: if the model cannot be read.
    """
    config, weights = read_model(directory)
    row = {word: number for number, word in enumerate(config.get("words", ()))}
    shared = [(ours, row[word]) for ours, word in enumerate(decoder.config.words) if word in row]
    ours, theirs = (torch.tensor(rows, dtype=torch.long) for rows in zip(*shared, strict=True))
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            other = weights.get(f"decoder.{name}")
            if other is None:
                continue
            if name in _BY_WORD:
                weight[ours] = other[theirs]
            elif other.shape == weight.shape:
                weight.copy_(other)


# A decoder's weights that have a row for each word.
_BY_WORD = ("embedding.weight", "output_bias")
