"""Several processes train one model: they do what one would, end together, and go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from learn_lines import learn

from common.errors import InputError
from common.training.processes import Processes, join, require_alone

PROGRAM = ["-m", "tests.learn_lines"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(run: Path, *arguments: str, launcher: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(launcher or []), *PROGRAM, str(run), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=300)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gradients and weights of two processes that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole")
    done = start(run, "2", "2")
    assert done.returncode == 0, done.stderr
    return torch.load(run / "found.pt", weights_only=True)


def test_two_processes_do_what_one_does_with_twice_the_batch(whole: Any, tmp_path: Path) -> None:
    gradients, weights = learn(tmp_path, 4, Processes())
    assert len(gradients) == 6
    torch.testing.assert_close(whole[0], gradients, rtol=0.0, atol=1e-6)
    torch.testing.assert_close(whole[1], weights, rtol=0.0, atol=1e-5)


def test_a_killed_process_ends_all_in_one_line_and_the_run_goes_on(whole: Any, tmp_path: Path) -> None:
    done = start(tmp_path, "2", "2", "--die")
    said = [line for line in done.stderr.splitlines() if not line.startswith(("step ", "epoch "))]
    assert done.returncode == 1
    assert len(said) == 1 and "another process of it has ended" in said[0]
    with pytest.raises(InputError, match="was written by 2 processes, not 1"):
        learn(tmp_path, 4, Processes())
    # The same run, begun by `--processes`, goes on under torchrun.
    done = start(tmp_path, "1", "2", launcher=TORCHRUN)
    assert done.returncode == 0, done.stderr
    gradients, weights = torch.load(tmp_path / "found.pt", weights_only=True)
    assert 1 <= len(gradients) <= 2  # of six
    torch.testing.assert_close(gradients, whole[0][-len(gradients) :], rtol=0.0, atol=0.0)
    torch.testing.assert_close(weights, whole[1], rtol=0.0, atol=0.0)


def test_a_number_that_torchrun_did_not_start_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="processes: is 2, but 3 were started"):
        join(2)
    with pytest.raises(InputError, match="takes one process here; start it without torchrun"):
        require_alone()
