"""Inputs that were damaged or made to do harm, tried in a process of its own, which they may end.

`python tests/fuzzing.py FILE NAME FIRST COUNT` tries so many by hand: FILE is a test module, whose function
`prepare(NAME)` gives what tries the input of one number, of FIRST and so on.
"""

from __future__ import annotations

import importlib.util
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MUTATIONS = 10_000
BYTES = 1 << 30  # of memory that one input may cost
SECONDS = 10.0  # of the processor that it may take,
WAITING = 120.0  # and of waiting, on a machine that has other things to do

_ADDRESSES = 16 << 30  # beyond this not even the machine should be asked
_MOST_FAILURES = 20


def mutated(data: bytes, seed: int) -> bytes:
    """The same file with a few changes of the kinds that decoders trip over."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        # Most of what decoders believe stands at the beginning.
        place = chance.randrange(min(len(changed), chance.choice((32, 128, 1 << 30))) or 1)
        kind = chance.randrange(7)
        if kind == 0:
            changed[place : place + 1] = [chance.randrange(256)]
        elif kind == 1 and place < len(changed):
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            number = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
            changed[place : place + 4] = number.to_bytes(4, chance.choice(("big", "little")))
        elif kind == 3:
            del changed[place : place + chance.choice((1, 2, 16, 1 << 30))]
        elif kind == 4:
            changed[place:place] = changed[place : place + chance.randrange(1, 64)] * chance.randrange(1, 9)
        elif kind == 5:
            changed[place:place] = chance.randbytes(chance.randrange(1, 16))
        else:
            size = chance.choice((9, 4000, 30_000)).to_bytes(2, chance.choice(("big", "little")))
            changed[place : place + 2] = size
    return bytes(changed)


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def failures(file: str, name: str, count: int = MUTATIONS) -> list[str]:
    """Try so many inputs; what went wrong, each with its number. What ends the process is passed over."""
    first = 0
    found: list[str] = []
    while first < count and len(found) < _MOST_FAILURES:
        program = [sys.executable, __file__, file, name, str(first), str(count - first)]
        done = subprocess.run(program, capture_output=True, text=True)
        if done.returncode == 0:
            break
        tried = done.stdout.split()
        found.append(f"{name} {tried[-1:]}: exit status {done.returncode}: {done.stderr[-1500:]}")
        if not tried:
            break
        first = int(tried[-1]) + 1
    return found


def _limit() -> None:
    """What takes too long or too much is ended by the system, wherever it hangs."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _ADDRESSES if most == resource.RLIM_INFINITY else min(_ADDRESSES, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _within_time(attempt: Callable[[int], None], number: int) -> None:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    attempt(number)


def main(file: str, name: str, first: str, count: str) -> None:
    """Try inputs one after another, and print the number of each before."""
    sys.path.insert(0, str(Path(file).parent))
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[Path(file).stem] = module
    spec.loader.exec_module(module)
    attempt: Callable[[int], None] = module.prepare(name)
    _limit()
    before = peak()
    for number in range(int(first), int(first) + int(count)):
        print(number, flush=True)
        _within_time(attempt, number)
        assert peak() - before < BYTES, f"{(peak() - before) / 1e6:.0f} MB"


if __name__ == "__main__":
    main(*sys.argv[1:])
