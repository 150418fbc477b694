"""Training from photographs to a model directory that describes them, in all three stages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import Tensor

from caption import Captioner, DescribeOptions
from caption.captioner import network_from_model
from caption.cli import main
from caption.measuring.evaluate import evaluate
from caption.model.encoder import Encoder, EncoderConfig
from caption.model.text import START
from caption.options import TrainOptions
from caption.training.batches import Said
from caption.training.learning import CaptionModule, Stage, plain_references
from caption.training.train import train
from common.errors import InputError, OptionError
from common.models.files import read_model, write_model

SCENES = {
    "red": "a red circle on white",
    "green": "the green square stands alone",
    "blue": "one blue bar lies down",
    "black": "nothing here but black",
}

# An epoch costs a checkpoint: few long epochs are faster than many short ones.
COPIES = 4


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drawings, each in a few files with two captions."""
    folder = tmp_path_factory.mktemp("drawings")
    rows = ["path\tcaption"]
    for color, caption in SCENES.items():
        drawing = Image.new("RGB", (60, 40), "black" if color == "black" else "white")
        shape = ImageDraw.Draw(drawing)
        if color == "red":
            shape.ellipse((10, 5, 40, 35), fill=color)
        elif color == "green":
            shape.rectangle((15, 5, 45, 35), fill=color)
        elif color == "blue":
            shape.rectangle((0, 15, 60, 22), fill=color)
        else:  # of one colour throughout, it would show nothing
            shape.rectangle((0, 0, 60, 2), fill="white")
        for copy in range(COPIES):
            drawing.save(folder / f"{color}{copy}.png")
            rows += [f"{color}{copy}.png\t{caption}"] * 2
    path = folder / "manifest.tsv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def options(manifest: Path, folder: Path, **changes: object) -> TrainOptions:
    stages = {"decoder_epochs": 14, "everything_epochs": 1, "reward_epochs": 1}
    rates = {"decoder_rate": 1e-3, "everything_rate": 1e-6, "reward_rate": 1e-6, "average_decay": 0.0}
    small = {"least_count": 1, "dropout": 0.0, "smoothing": 0.0, "batch_size": 4, "hidden_size": 128}
    chosen = {**stages, **rates, **small, **changes}
    return TrainOptions((manifest,), (manifest,), folder / "run", folder / "cache", **chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainOptions:
    """The options of a run that has learned the drawings by heart."""
    chosen = options(manifest, tmp_path_factory.mktemp("trained"))
    train(chosen)
    return chosen


def test_four_drawings_are_learned_by_heart(trained: TrainOptions) -> None:
    captioner = Captioner.load(trained.run / "best")
    for color, caption in SCENES.items():
        described = captioner.describe(trained.train[0].parent / f"{color}0.png")
        assert described.text == caption
        assert 0.0 < described.confidence <= 1.0 and described.log_prob < 0.0


def test_a_run_that_never_made_a_step_may_begin_otherwise(
    manifest: Path, tmp_path: Path, trained: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyError("the power fails")

    assert (trained.run / "run.json").is_file()
    monkeypatch.setattr(CaptionModule, "training_step", stop)
    for seed in (1, 2):
        with pytest.raises(KeyError):
            train(options(manifest, tmp_path, seed=seed))
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_finished_run_is_not_done_again(trained: TrainOptions) -> None:
    before = (trained.run / "everything" / "last.ckpt").stat().st_mtime_ns
    train(trained)
    assert (trained.run / "everything" / "last.ckpt").stat().st_mtime_ns == before


def test_evaluation_reports_what_it_measured_and_how(trained: TrainOptions) -> None:
    captioner = Captioner.load(trained.run / "best")
    report = evaluate(captioner, trained.dev[0], DescribeOptions(beam=2))
    assert report.images == 4 * COPIES and report.seconds > 0.0
    assert report.model == "best" and "beam 2" in report.decoding
    assert report.bleu1 == pytest.approx(100.0) and report.cider > 100.0


def test_training_goes_on_from_a_model_directory(
    manifest: Path, trained: TrainOptions, tmp_path: Path
) -> None:
    again = options(manifest, tmp_path, init=trained.run / "best", decoder_epochs=0, reward_epochs=0)
    train(again)
    assert (
        Captioner.load(tmp_path / "run" / "best").describe(manifest.parent / "red0.png").text == SCENES["red"]
    )


def encoder_weights(model: Path) -> dict[str, Tensor]:
    return {name: weight for name, weight in read_model(model)[1].items() if name.startswith("encoder.")}


def test_the_encoder_learns_from_rewards_only_where_it_is_told_to(
    manifest: Path, trained: TrainOptions, tmp_path: Path
) -> None:
    before = encoder_weights(trained.run / "everything" / "best")
    still = encoder_weights(trained.run / "reward" / "best")
    assert before and all(torch.equal(weight, still[name]) for name, weight in before.items())
    changes = {"reward_rate": 1e-2, "reward_encoder_share": 1.0, "bleu_weight": 1.0}
    train(
        options(
            manifest, tmp_path, init=trained.run / "best", decoder_epochs=0, everything_epochs=0, **changes
        )
    )
    moved = encoder_weights(tmp_path / "run" / "reward" / "best")
    assert not all(torch.equal(weight, moved[name]) for name, weight in before.items())


def test_the_plain_vector_to_sequence_form_trains_as_well(manifest: Path, tmp_path: Path) -> None:
    train(options(manifest, tmp_path, attention=False, everything_epochs=0, reward_epochs=0))
    captioner = Captioner.load(tmp_path / "run" / "best")
    assert captioner.describe(manifest.parent / "green0.png").text == SCENES["green"]


def test_a_decoder_that_goes_on_from_its_own_words_learns_as_well(manifest: Path, tmp_path: Path) -> None:
    train(options(manifest, tmp_path, own_words=0.5, everything_epochs=0, reward_epochs=0))
    captioner = Captioner.load(tmp_path / "run" / "best")
    assert captioner.describe(manifest.parent / "green0.png").text == SCENES["green"]


def test_as_many_words_as_asked_are_its_own(manifest: Path, trained: TrainOptions) -> None:
    module = module_of(trained)
    module.network.decoder.eval()
    scene = module.network.look(torch.zeros(2, 3, 224, 224, dtype=torch.uint8))
    inputs = torch.full((10, 2000), START)
    assert torch.equal(module.partly_own(scene, inputs, 0.0), inputs)
    own = module.partly_own(scene, inputs, 0.25)
    assert bool((own[:, 0] == START).all())  # what a caption begins with is no word
    # The start symbol is never drawn.
    assert float((own[:, 1:] != START).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_what_teachers_expect_is_learned(manifest: Path, trained: TrainOptions, tmp_path: Path) -> None:
    module = module_of(trained, teachers=2)
    assert not any("teacher" in name for name, _ in module.named_parameters())
    batch = torch.zeros(2, 3, 224, 224, dtype=torch.uint8)
    inputs = torch.full((10, 3), START)
    teacher = module.teachers[0]
    expected = teacher.decoder(teacher.look(batch), inputs).softmax(dim=-1)
    torch.testing.assert_close(module.taught(batch, inputs, torch.tensor([5, 5])), expected)
    one = trained.run / "decoder" / "best"
    train(options(manifest, tmp_path, everything_epochs=0, reward_epochs=0, teachers=(one, one)))
    described = Captioner.load(tmp_path / "run" / "best").describe(manifest.parent / "red0.png")
    assert described.text == SCENES["red"]


def test_who_sees_or_speaks_otherwise_cannot_teach(
    manifest: Path, trained: TrainOptions, tmp_path: Path
) -> None:
    config, weights = read_model(trained.run / "best")
    blind = {name: weight * 2.0 if "encoder" in name else weight for name, weight in weights.items()}
    write_model(tmp_path / "blind", config, blind, "# Blind\n")
    with pytest.raises(InputError, match="its encoder is another one"):
        train(options(manifest, tmp_path, init=trained.run / "best", teachers=(tmp_path / "blind",)))
    mute = options(manifest, tmp_path / "mute", least_count=1000, teachers=(trained.run / "best",))
    with pytest.raises(InputError, match="other words"):
        train(mute)


def module_of(trained: TrainOptions, teachers: int = 0) -> CaptionModule:
    """What trains the network of a run, in its first stage."""
    config, weights = read_model(trained.run / "best")
    network = network_from_model(config, weights, trained.run)
    others = [network_from_model(config, weights, trained.run).eval() for _ in range(teachers)]
    stage = Stage("decoder", 1, 1e-3, 0.0, 2, 0.0)
    return CaptionModule(network, stage, [], [], trained, others)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an encoder with a classifier, drawn at random."""
    torch.manual_seed(5)
    weights = dict(Encoder(EncoderConfig()).network.state_dict())
    weights |= {"classifier.weight": torch.randn(1000, 1280) / 36, "classifier.bias": torch.zeros(1000)}
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_file({name: weight.contiguous().clone() for name, weight in weights.items()}, path)
    return path


def test_text_then_pictures_with_an_encoder_that_learns_in_its_upper_half(
    manifest: Path, classes: Path, tmp_path: Path
) -> None:
    text = tmp_path / "captions.txt"
    text.write_text("a dog and a cat\nthe bus stands alone\none cup\n" * 3 + "\n", encoding="utf-8")
    changes = {"encoder_weights": classes, "encoder_part": "upper", "beliefs": 3, "forgetting_weight": 0.5}
    changes |= {"text": text, "text_epochs": 1, "text_batch_size": 4, "everything_epochs": 1}
    changes |= {"everything_rate": 1e-3, "decoder_epochs": 0, "reward_epochs": 1, "mirrored": False}
    train(options(manifest, tmp_path, **changes))
    spoken, _ = read_model(tmp_path / "run" / "text" / "best")
    assert {"cat", "dog", "bus", "cup"} <= set(spoken["words"]) and spoken["classes"][281] == "cat"
    _, before = read_model(tmp_path / "run" / "text" / "best")
    _, after = read_model(tmp_path / "run" / "everything" / "best")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "encoder.network.head.conv.weight" in moved and "decoder.embedding.weight" in moved
    assert not {name for name in moved if name.startswith("encoder.network.blocks.10.")}
    assert Captioner.load(tmp_path / "run" / "best").describe(manifest.parent / "red0.png").text


def test_text_without_beliefs_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="needs a text"):
        train(options(manifest, tmp_path, text_epochs=1))


def test_where_references_are_few_captions_are_told(manifest: Path, trained: TrainOptions) -> None:
    said = [[Said((3, 4))] * 5, [Said((5,))], [Said((3,), start=7)] * 5]
    assert plain_references(said, 2) == {0: [(3, 4)] * 5}


def test_passes_that_are_no_numbers_are_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SOURCE=TIMES"):
        train(options(manifest, tmp_path, passes=("web=often",)))


def test_a_run_without_epochs_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 epochs"):
        train(options(manifest, tmp_path, decoder_epochs=0, everything_epochs=0, reward_epochs=0))


def test_the_command_trains_from_a_file_of_options(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(
        f'train = ["{manifest}"]\ndev = ["{manifest}"]\nrun = "{tmp_path / "run"}"\n'
        f'cache = "{tmp_path / "cache"}"\nhidden_size = 16\nleast_count = 1\nattention = false\n'
        "decoder_epochs = 1\neverything_epochs = 0\nreward_epochs = 0\n"
    )
    missing = str(tmp_path / "imagenet.safetensors")
    elsewhere = ["--run", str(tmp_path / "none"), "--encoder-weights", missing]
    assert main(["train", "--options", str(file), *elsewhere]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"caption: {missing}: ") and said.count("\n") == 1
    assert main(["train", "--options", str(file)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'best'}\n"
    config, _ = read_model(tmp_path / "run" / "best")
    assert (config["hidden_size"], config["attention"]) == (16, False)
