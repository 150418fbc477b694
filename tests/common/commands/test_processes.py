"""Helper processes: all items once, errors, deaths, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.commands.processes import Helpers

ROOT = Path(__file__).parents[3]


@pytest.fixture
def light(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which helpers import in PyTorch's place what does nothing: the real one takes seconds."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "torch.py").write_text("def set_num_threads(count):\n    pass\n")
    monkeypatch.syspath_prepend(folder)
    return folder


def whose_square(number: int) -> tuple[int, int]:
    time.sleep(0.02)
    return os.getpid(), number * number


def square_maker() -> Callable[[int], tuple[int, int]]:
    return whose_square


def angry(number: int) -> int:
    raise ValueError(f"not {number}")


def angry_maker() -> Callable[[int], int]:
    return angry


def dying(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def dying_maker() -> Callable[[int], int]:
    return dying


def threads(_: int) -> tuple[int, int]:
    import torch

    time.sleep(0.02)
    return os.getpid(), torch.get_num_threads()


def threads_maker() -> Callable[[int], tuple[int, int]]:
    return threads


def negative(number: int) -> int:
    time.sleep(0.02)
    return -number


@pytest.mark.usefixtures("light")
def test_every_item_is_done_once_here_or_by_a_helper() -> None:
    with Helpers(square_maker, 1) as helpers:
        helpers.start()
        found = list(helpers.work(whose_square, range(40)))
    assert sorted(number for number, _ in found) == list(range(40))
    assert all(square == number * number for number, (_, square) in found)
    workers = {pid for _, (pid, _) in found}
    assert len(workers) == 2 and os.getpid() in workers


def whose(_: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def one_is_late() -> Callable[[int], int]:
    """The second helper is not ready before the first has worked."""
    flag = Path(os.environ["FIRST_HELPER"])
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        while not flag.with_name("go").exists():
            time.sleep(0.01)
    return whose


@pytest.mark.usefixtures("light")
def test_of_two_helpers_only_those_are_counted_that_are_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRST_HELPER", str(tmp_path / "first"))
    with Helpers(one_is_late, 2, patience=0.0) as helpers:
        deadline = time.monotonic() + 120.0

        def until(ready: int) -> Iterator[int]:
            while helpers.ready < ready and time.monotonic() < deadline:
                yield 1

        first = {pid for _, pid in helpers.work(whose, until(1))}
        assert helpers.ready == 1
        first |= {pid for _, pid in helpers.work(whose, range(20))}
        assert helpers.ready == 1 and len(first) == 2
        (tmp_path / "go").touch()
        helpers.start()
        assert helpers.ready == 2
        assert len({pid for _, pid in helpers.work(whose, range(200))}) == 3


@pytest.mark.usefixtures("light")
def test_helpers_end_at_once_with_what_went_wrong() -> None:
    pids: list[int] = []

    def interrupted(helpers: Helpers[int, tuple[int, int]]) -> None:
        with helpers:
            helpers.start()
            assert helpers._pool is not None
            pids.extend(helpers._pool._processes)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(Helpers(square_maker, 2))
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline and any(map(is_running, pids)):
        time.sleep(0.01)
    assert len(pids) == 2 and not any(map(is_running, pids))


STARTING = """
import os, signal, sys, time
from common.commands.command import run_command
from common.commands.processes import Helpers
from tests.common.commands.test_processes import square_maker, whose_square

def main():
    with Helpers(square_maker, 2, patience=0.0) as helpers:
        helpers._start()
        print(*helpers._pool._processes, flush=True)
        for _ in helpers.work(whose_square, iter(lambda: 1, 0)):
            pass

if __name__ == "__main__":
    sys.exit(run_command("speech", main))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a group are not to be had")
@pytest.mark.parametrize(("signal_number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_while_helpers_start_is_one_line(
    signal_number: signal.Signals, status: int, tmp_path: Path, light: Path
) -> None:
    script = tmp_path / "night.py"
    script.write_text(STARTING)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(light), str(ROOT)])}
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as night:
        assert night.stdout is not None
        helpers = [int(pid) for pid in night.stdout.readline().split()]
        os.killpg(night.pid, signal_number)  # as a terminal does it: to all of them
        said = night.communicate(timeout=120)[1]
    assert (said, night.returncode) == ("speech: stopped\n", status)
    assert not any(map(is_running, helpers))


def test_alone_items_are_taken_as_they_are_needed_and_come_in_order() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number

    results = Helpers[int, int].none().work(negative, items())
    assert taken == []
    assert next(results) == (0, 0) and taken == [0]
    assert list(results) == [(1, -1), (2, -2), (3, -3), (4, -4)]


@pytest.mark.usefixtures("light")
def test_few_items_wait() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(60):
            taken += 1
            yield number

    with Helpers(square_maker, 1) as helpers:
        helpers.start()
        for done, _ in enumerate(helpers.work(whose_square, items())):
            assert taken <= done + 5


def test_nobody_is_started_for_a_moments_work() -> None:
    with Helpers(square_maker, 1, patience=60.0) as helpers:
        assert {pid for _, (pid, _) in helpers.work(whose_square, range(10))} == {os.getpid()}


@pytest.mark.usefixtures("light")
def test_they_are_started_when_there_seems_to_be_much_to_do() -> None:
    def until_somebody_helps() -> Iterator[int]:
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline and workers <= {os.getpid()}:
            yield 1

    workers: set[int] = set()
    with Helpers(square_maker, 1, patience=0.05) as helpers:
        for _, (pid, _) in helpers.work(whose_square, until_somebody_helps()):
            workers.add(pid)
    assert len(workers) == 2


def test_pytorch_has_one_thread_in_a_helper() -> None:
    with Helpers(threads_maker, 1) as helpers:
        helpers.start()
        found = dict(result for _, result in helpers.work(threads, range(20)))
    found.pop(os.getpid(), None)
    assert list(found.values()) == [1]


@pytest.mark.usefixtures("light")
def test_what_fails_comes_through() -> None:
    with Helpers(angry_maker, 1) as helpers:
        helpers.start()
        with pytest.raises(ValueError, match="not 0"):
            list(helpers.work(negative, range(100)))


@pytest.mark.usefixtures("light")
def test_what_a_helper_dies_of_is_done_here(capfd: pytest.CaptureFixture[str]) -> None:
    with Helpers(dying_maker, 1) as helpers:
        helpers.start()
        found = list(helpers.work(negative, range(30)))
        again = list(helpers.work(negative, range(3)))
    assert sorted(found) == [(number, -number) for number in range(30)]
    assert again == [(0, 0), (1, -1), (2, -2)]
    assert capfd.readouterr().err.count("a helper process died") == 1


@pytest.mark.usefixtures("light")
def test_who_stops_early_need_not_wait_for_the_rest() -> None:
    with Helpers(square_maker, 1) as helpers:
        helpers.start()
        results = helpers.work(whose_square, range(100_000))
        next(results)
        results.close()


def test_helpers_that_are_still_starting_when_all_is_done_end_without_a_word(
    tmp_path: Path, light: Path
) -> None:
    script = tmp_path / "short.py"
    script.write_text(
        "from common.commands.processes import Helpers\n"
        "from tests.common.commands.test_processes import square_maker, whose_square\n"
        "if __name__ == '__main__':\n"
        "    with Helpers(square_maker, 2, patience=0.0) as helpers:\n"
        "        print(len(list(helpers.work(whose_square, range(10)))))\n"
        "    del helpers\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(light), str(ROOT)])}
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "10\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not to be had")
def test_a_killed_process_leaves_no_helper(tmp_path: Path, light: Path) -> None:
    script = tmp_path / "night.py"
    script.write_text(
        "import time\n"
        "from common.commands.processes import Helpers\n"
        "from tests.common.commands.test_processes import square_maker\n"
        "if __name__ == '__main__':\n"
        "    helpers = Helpers(square_maker, 1)\n"
        "    helpers.start()\n"
        "    print(*helpers._pool._processes, flush=True)\n"
        "    time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(light), str(ROOT)])}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as night:
        assert night.stdout is not None
        helper = int(night.stdout.readline())
        night.kill()
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline and is_running(helper):
        time.sleep(0.1)
    assert not is_running(helper)


def is_running(pid: int) -> bool:
    """Whether there is such a process that is not merely waiting to be noticed as ended."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/status")
        return not (status.is_file() and "State:\tZ" in status.read_text())
    except (ProcessLookupError, FileNotFoundError):  # it can end between any two of these
        return False
