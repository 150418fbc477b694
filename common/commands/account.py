"""What became of the inputs of a batch so far, as a person, a program and the report are told.

Comes in: each input as it is done, with the seconds it took. Goes out: lines on standard error, lines of the
report, and the sums of both.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from common.commands.messages import Level, beside_bars, is_json, say
from common.commands.outputs import Job
from common.commands.progress import Report
from common.errors import InputError, UnexpectedError, shown
from common.stages import in_words, summed


@dataclass(frozen=True)
class Summary:
    """How many inputs were done now - some of them only in part -, had been done before, and failed."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    partly: int = 0

    @property
    def exit_status(self) -> int:
        """1 if an input failed or could only be read in part, otherwise 0."""
        return 1 if self.failed or self.partly else 0

    def __str__(self) -> str:
        """The summary in words."""
        parts = [f"{self.done} done ({self.partly} only in part)" if self.partly else f"{self.done} done"]
        if self.skipped:
            parts.append(f"{self.skipped} already there (--overwrite does them again)")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)


class Account:
    """What became of the inputs so far, said on standard error and in the report's table."""

    def __init__(
        self,
        command: str,
        table: Report,
        details: Sequence[Callable[[Any], str]],
        warnings: Callable[[Any], Sequence[str]] | None,
        partly: Callable[[Any], bool] | None,
        stages: Sequence[str],
    ) -> None:
        self.summary = Summary()
        self._command = command
        self._table = table
        self._details = details
        self._warnings = warnings
        self._partly = partly
        self._stages = stages
        self._sums: dict[str, float] = {}  # seconds by stage
        self._seconds = 0.0  # of all inputs
        self._began = time.perf_counter()

    def open(self, jobs: Sequence[Job]) -> None:
        """Say what is to be known before anything is done, and what cannot be tried."""
        remarks: dict[str, list[str]] = defaultdict(list)
        for job in jobs:
            if job.input.problem is not None:
                self.add(job, InputError(job.input.path, job.input.problem), 0.0, {})
            elif job.done:
                self.summary = replace(self.summary, skipped=self.summary.skipped + 1)
                self._note(job.input.path, "skipped", 0.0, {})
            if job.remark is not None and job.input.problem is None:
                remarks[job.remark].append(job.input.path)
        for remark, (path, *others) in remarks.items():
            more = f" (and {len(others)} more)" if others else ""
            if is_json():
                say(self._command, remark, event="remark", level="info", path=path, others=len(others))
            else:
                say(self._command, f"{shown(path)}{more}: {remark}", event="remark")

    def add(self, job: Job, result: object, seconds: float, stages: Mapping[str, float]) -> None:
        """Note what became of one input: a result that is delivered, or an error; and the seconds it took."""
        path = job.input.path
        self._seconds += seconds
        self._sums = summed([self._sums, stages])
        if not isinstance(result, InputError):
            partly = self._partly is not None and self._partly(result)
            done, parts = self.summary.done + 1, self.summary.partly + partly
            self.summary = replace(self.summary, done=done, partly=parts)
            values = [of_result(result) for of_result in self._details]
            warnings = list(self._warnings(result)) if self._warnings is not None else []
            for one in warnings:
                say(self._command, one, event="warning", path=path)
            self._note(path, "warning" if warnings else "done", seconds, stages, values, "; ".join(warnings))
            if is_json():
                measured = self._measured(seconds, stages)
                say(self._command, "done", event="done", level="info", path=path, **measured)
            return
        self.summary = replace(self.summary, failed=self.summary.failed + 1)
        log = result.log if isinstance(result, UnexpectedError) else ""
        reason = result.reason if result.path == path else str(result)
        say(self._command, reason, event="failed", level="error", path=path, traceback=log or None)
        if log and self._table.path is None and not is_json():
            with beside_bars():
                print(log, file=sys.stderr, flush=True)
        self._note(path, "failed", seconds, stages, reason=f"{reason}\n{log}" if log else reason)

    def say_stopped(self, jobs: int) -> str:
        """Say how far it came."""
        done = self.summary
        line = f"stopped; {done}, {jobs - done.done - done.skipped - done.failed} left"
        self._end(f"{line}{self._spent()}", "stopped", "error")
        return line

    def say_done(self, jobs: int) -> None:
        """Say how it went, if somebody may want to know: of one input, or if all is well, it shows itself."""
        done = self.summary
        worth = self._stages or done.failed or done.skipped or done.partly
        self._end(f"{done}{self._spent()}", "end", "info", is_said=is_json() or (jobs > 1 and bool(worth)))

    def _spent(self) -> str:
        """The seconds of all inputs by stage, for a person; nothing if they were not measured."""
        if not any(name in self._sums for name in self._stages):
            return ""
        took = time.perf_counter() - self._began
        return f" in {took:.1f} s; seconds a stage: {in_words(self._sums, self._stages)}"

    def _end(self, line: str, event: str, level: Level, is_said: bool = True) -> None:
        """The last line on standard error and of the report."""
        done, wall = self.summary, time.perf_counter() - self._began
        if is_said:
            measured = {"wall": round(wall, 3), **self._measured(self._seconds, self._sums)}
            say(self._command, line, event=event, level=level, **asdict(done), **measured)
        self._note("", "total", self._seconds, self._sums, reason=f"{done} in {wall:.1f} s")

    def _measured(self, seconds: float, stages: Mapping[str, float]) -> dict[str, Any]:
        """The seconds of an input, or of all, for a program."""
        known = {name: round(stages[name], 6) for name in self._stages if name in stages}
        return {"seconds": round(seconds, 6), **({"stages": known} if known else {})}

    def _note(
        self,
        path: str,
        status: str,
        seconds: float,
        stages: Mapping[str, float],
        details: Sequence[str] = (),
        reason: str = "",
    ) -> None:
        """A line of the report."""
        values = details or [""] * len(self._details)
        measured = [f"{stages[name]:.3f}" if name in stages else "" for name in self._stages]
        self._table.add(path, status, seconds, [*values, *measured], reason)
