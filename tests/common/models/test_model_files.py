"""Model directories: what is written is read back, and what is damaged is said to be."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.errors import InputError
from common.files import clear_abandoned
from common.models.files import Storage, find_model, read_model, write_model

CONFIG = {"symbols": ["", "a", "é"], "layers": 4, "dropout": 0.2, "features": {"mels": 80}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "english"
    write_model(directory, CONFIG, {"weight": torch.ones(3, 2)}, "# Card\n")
    return directory


@settings(max_examples=40, deadline=None)
@given(
    config=st.dictionaries(st.text(), JSON, max_size=4),
    shape=st.lists(st.integers(0, 20), max_size=4),
    scale=st.sampled_from([1e-3, 1.0, 1e6]),
    storage=st.sampled_from(["float16", "int8"]),
    compressed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_what_is_written_is_read_back(
    config: dict[str, Any],
    shape: list[int],
    scale: float,
    storage: Storage,
    compressed: bool,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "weight": torch.randn(shape, generator=generator) * scale,
        "large": torch.randn(70, 8, 8, generator=generator) * scale,
        "steps": torch.tensor(2**40),
        "table": torch.randint(-128, 128, (80, 80), generator=generator, dtype=torch.int8),
        "mask": torch.tensor([True, False]),
    }
    directory = tmp_path_factory.mktemp("models") / "model"
    write_model(directory, config, tensors, "", storage, compressed)
    read_config, read = read_model(directory)
    assert read_config == config
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].shape == tensor.shape
        assert read[name].dtype == tensor.dtype
        if tensor.is_floating_point():
            step = float(tensor.abs().max()) / 127 if storage == "int8" and tensor.numel() else 0.0
            torch.testing.assert_close(read[name], tensor, rtol=1e-3, atol=step * 0.5001 + 1e-7)
        else:
            assert torch.equal(read[name], tensor)


@pytest.mark.parametrize(("storage", "bytes_a_weight"), [("float16", 2.0), ("int8", 1.0)])
def test_storage_takes_the_bytes_that_it_promises(
    tmp_path: Path, storage: Storage, bytes_a_weight: float
) -> None:
    write_model(
        tmp_path / "model", {}, {"weight": torch.randn(512, 512), "bias": torch.randn(512)}, "", storage
    )
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert size < 1.02 * bytes_a_weight * 512 * 512


def test_eight_bits_are_at_most_half_a_step_of_their_row_off(tmp_path: Path) -> None:
    weight = torch.randn(64, 256) * torch.logspace(-3, 3, 64).unsqueeze(1)
    write_model(tmp_path / "model", {}, {"weight": weight}, "", "int8")
    _, read = read_model(tmp_path / "model")
    steps = weight.abs().amax(dim=1) / 127
    assert ((read["weight"] - weight).abs().amax(dim=1) <= steps * 0.5001).all()


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_a_row_of_zeros_and_weights_out_of_range_survive(tmp_path: Path, storage: Storage) -> None:
    tensors = {
        "zeros": torch.zeros(64, 64),
        "large": torch.tensor([1e30, 1.0]),
        "infinite": torch.full((64, 64), torch.inf),
    }
    write_model(tmp_path / "model", {}, tensors, "", storage)
    _, read = read_model(tmp_path / "model")
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_shared_strided_and_double_weights_are_stored(tmp_path: Path) -> None:
    shared = torch.randn(4, 3).half().float()
    kernel = torch.ones(8, 2, 3, 3).to(memory_format=torch.channels_last)
    tensors = {"a": shared, "b": shared, "turned": shared.T, "kernel": kernel, "double": shared.double()}
    write_model(tmp_path / "model", {}, tensors, "")
    _, read = read_model(tmp_path / "model")
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor.float())
        assert read[name].dtype == torch.float32


def test_the_configuration_is_for_people_to_read(model: Path) -> None:
    text = (model / "config.json").read_text(encoding="utf-8")
    assert json.loads(text)["format_version"] == 1
    assert "é" in text
    assert '\n  "layers": 4' in text
    assert (model / "README.md").read_text() == "# Card\n"


def test_a_newer_model_takes_the_place_of_the_older(model: Path) -> None:
    write_model(model, {"layers": 2}, {"other": torch.zeros(1)}, "new")
    config, tensors = read_model(model)
    assert config == {"layers": 2}
    assert list(tensors) == ["other"]
    assert [path.name for path in model.parent.iterdir()] == ["english"]


def test_a_failed_write_leaves_the_older_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(InputError, match="english: cannot be written: No space left on device"):
        write_model(model, {}, {"other": torch.zeros(1)}, "")
    assert read_model(model)[0] == CONFIG


def test_what_a_killed_write_left_behind_is_no_obstacle(model: Path) -> None:
    left: list[Path] = [model.with_name(f".english.{kind}") for kind in ("part", "old")]
    for path in left:
        path.mkdir()
        (path / "config.json").touch()
        os.utime(path, (1, 1))
    clear_abandoned.cache_clear()  # as in another process
    write_model(model, {"layers": 2}, {}, "")
    assert read_model(model)[0] == {"layers": 2}
    assert not any(path.exists() for path in left)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process that is a copy of this one")
def test_a_kill_between_the_renames_loses_no_model(model: Path) -> None:
    rename = Path.rename
    renamed: list[Path] = []

    def killing(self: Path, target: Path) -> Path:
        if renamed:
            os.kill(os.getpid(), signal.SIGKILL)
        renamed.append(self)
        return rename(self, target)

    child = os.fork()
    if child == 0:
        try:
            Path.rename = killing  # type: ignore[assignment, method-assign]
            write_model(model, {"layers": 2}, {"other": torch.zeros(1)}, "new")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not model.exists()
    assert find_model(model, model.parent / "none") == model
    assert read_model(model)[0] == CONFIG


def test_a_model_that_was_moved_aside_is_read_without_being_sought(model: Path) -> None:
    model.rename(model.with_name(".english.old"))
    assert read_model(model)[0] == CONFIG
    model.rename(model.with_name(".english.old"))
    write_model(model, {"layers": 2}, {}, "")
    assert [path.name for path in model.parent.iterdir()] == ["english"]


def test_files_that_belong_to_no_model_are_never_lost(model: Path) -> None:
    (model / "thesis.docx").touch()
    with pytest.raises(InputError, match=r"holds other files \(thesis\.docx\)"):
        write_model(model, {}, {}, "")


def test_a_compressed_model_takes_the_place_of_another_and_xz_reads_it(model: Path) -> None:
    table = torch.arange(3_000_000, dtype=torch.int32) // 1000  # 12 MB, which are three pieces
    write_model(model, {}, {"table": table}, "", compressed=True)
    names = sorted(path.name for path in model.iterdir())
    assert names == ["README.md", "config.json", "model.safetensors.xz"]
    assert torch.equal(read_model(model)[1]["table"], table)
    data = (model / "model.safetensors.xz").read_bytes()
    assert len(data) < 100_000
    write_model(model, {}, {"table": table}, "")
    assert (model / "model.safetensors").read_bytes() == lzma.decompress(data)
    assert not (model / "model.safetensors.xz").exists()


@pytest.mark.parametrize("damage", ["bomb", "cut", "count", "type", "garbage", "many"])
def test_damaged_pieces_are_refused_without_filling_memory(tmp_path: Path, damage: str) -> None:
    write_model(tmp_path / "model", {}, {"weight": torch.zeros(100, 100)}, "", compressed=True)
    path, config = tmp_path / "model" / "model.safetensors.xz", tmp_path / "model" / "config.json"
    data: bytes = path.read_bytes()
    pieces: list[Any] = [len(data)]
    if damage == "bomb":
        data = lzma.compress(bytes(1 << 28))
        pieces = [len(data)]
    elif damage == "cut":
        data, pieces = data[:-40], [len(data) - 40]
    elif damage == "count":
        pieces = [len(data) + 1]
    elif damage == "type":
        pieces = [float(len(data))]
    elif damage == "garbage":
        data, pieces = b"x" * 50, [50]
    else:
        data, pieces = data * 1000, pieces * 1000
    path.write_bytes(data)
    stored = json.loads(config.read_text())
    config.write_text(json.dumps({**stored, "sha256": hashlib.sha256(data).hexdigest(), "pieces": pieces}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="is not a safetensors file of a model"):
        read_model(tmp_path / "model")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: cannot be read: No such file"):
        read_model(model)


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_damaged_weights_are_refused(model: Path, damage: str) -> None:
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-1] ^= 64
    path.write_bytes({"cut": data[:-3], "flipped": data, "emptied": bytearray()}[damage])
    with pytest.raises(InputError, match=r"model\.safetensors: is damaged"):
        read_model(model)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[1]", "it has no format_version"),
        ('{"format_version": 99}', "has format 99, this version reads 1"),
        ('{"format_version": 1}', "config or sha256 is missing"),
    ],
)
def test_a_damaged_configuration_is_refused(model: Path, text: str, reason: str) -> None:
    (model / "config.json").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_model(model)


def test_a_model_is_found_by_name_and_by_path(model: Path) -> None:
    assert find_model("english", model.parent) == model
    assert find_model(model, model.parent / "none") == model
    assert find_model(str(model), model.parent / "none") == model


def test_an_unknown_model_is_answered_with_those_that_ship(model: Path) -> None:
    with pytest.raises(InputError, match="klingon: no such model or model directory; these ship: english"):
        find_model("klingon", model.parent)
    with pytest.raises(InputError, match=r"it has no config\.json; these ship: english"):
        find_model(model.parent, model.parent)
    with pytest.raises(InputError, match="none ships"):
        find_model("english", model / "none")


def test_reading_takes_no_device_and_no_gradient(tmp_path: Path) -> None:
    weight: Tensor = torch.nn.Parameter(torch.ones(2, 2))
    write_model(tmp_path / "model", {}, {"weight": weight}, "")
    assert not read_model(tmp_path / "model")[1]["weight"].requires_grad
