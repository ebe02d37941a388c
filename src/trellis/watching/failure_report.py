"""Says on stderr, when the program ends, that tasks have failed or were abandoned whose errors nobody has looked at.

Three lines for all runs of the program, once, by the process that has loaded them and by none that was forked from it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterable, Sequence

from trellis.dataflow.failure_log import FailureGroup, FailureLog
from trellis.dataflow.states import States
from trellis.watching.view import WatchedKernel

_RUNS_NAMED = 3
_FIRST_SHOWN = 300


class FailureReport:
    """The part of a run's watch that has its failures reported when the program ends."""

    def __init__(self, kernel: WatchedKernel) -> None:
        self._kernel = kernel
        self._run: RunReported | None = None

    def begin(self) -> None:
        kernel = self._kernel
        self._run = RunReported(kernel.failures, kernel.log_file or f"{kernel.run_dir} (without a trellis.log)")
        _at_exit.add(self._run)

    def end(self) -> None:
        if self._run is not None:
            self._run.not_run = self._kernel.task_state_counts[States.dep_fail]
            _at_exit.drop_if_seen(self._run)


class RunReported:
    """What is kept of a run until the program ends: counts, no task.

    Args:
        failures: of its kernel.
        where: one can read more of them.
        not_run: how many tasks were not run, because tasks that they needed had failed.
    """

    def __init__(self, failures: FailureLog, where: str, not_run: int = 0) -> None:
        self.failures = failures
        self.where = where
        self.not_run = not_run

    @property
    def unseen(self) -> int:
        """How many errors there are that nobody has looked at."""
        return _unseen(self.failures.groups) + _unseen(self.failures.abandoned)


def words(runs: Sequence[RunReported], interrupted: bool = False) -> Sequence[str]:
    """The three lines about runs, without those whose errors somebody has looked at; none if there are no others.

    ``interrupted``: the user has ended the program with Ctrl-C, and knows that tasks had not ended.
    """
    runs = [run for run in runs if run.unseen]
    failed = [group for run in runs for group in run.failures.groups if group.unseen > 0]
    abandoned = [group for run in runs for group in run.failures.abandoned if group.unseen > 0 and not interrupted]
    said = []
    if failed:
        not_run = sum(run.not_run for run in runs)
        because = f" ({not_run} more could not run because of that)" if not_run else ""
        said.append(f"{_tasks(_unseen(failed))} failed{because}")
    if abandoned:
        said.append(f"{_tasks(_unseen(abandoned))} had not ended when the run did, and {_were(abandoned)} abandoned")
    if not said:
        return ()
    where = [run.where for run in runs]
    named = ", ".join(where[:_RUNS_NAMED]) + (f" and {len(where) - _RUNS_NAMED} more" if where[_RUNS_NAMED:] else "")
    advice = "wait for them with result(), exception() or Config(exit_mode='wait')"
    first = "".join(each if each.isprintable() else " " for each in (failed or abandoned)[0].first)[:_FIRST_SHOWN]
    return (
        f"{', '.join(said)}; nobody has looked at the errors",
        f"the first: {first}" if failed else f"the first: {first} ({advice})",
        f"read on in {named} (Config(report_failures=False) ends these lines)",
    )


def _unseen(groups: Iterable[FailureGroup]) -> int:
    return sum(group.unseen for group in groups)


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _were(groups: Iterable[FailureGroup]) -> str:
    return "was" if _unseen(groups) == 1 else "were"


# -- the end of the program ------------------------------------------------------------------------------------


class _AtExit:
    """The runs of this process that have something to tell when it ends."""

    def __init__(self) -> None:
        self._runs: list[RunReported] = []
        self._registered = False

    def add(self, run: RunReported) -> None:
        self._runs.append(run)
        if not self._registered:
            self._registered = True
            atexit.register(self.tell)
            os.register_at_fork(after_in_child=self.forget)  # they are the parent's

    def drop_if_seen(self, run: RunReported) -> None:
        """Keep a run that has ended only if there is something to tell: what was looked at stays so."""
        if not run.unseen and run in self._runs:
            self._runs.remove(run)

    def forget(self) -> None:
        self._runs.clear()

    def tell(self) -> None:
        lines = words(self._runs, interrupted=getattr(sys, "last_type", None) is KeyboardInterrupt)
        self.forget()
        if lines and sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):  # a program may have closed it, as daemons do
                print(*(f"trellis: {line}" for line in lines), sep="\n", file=sys.stderr, flush=True)


_at_exit = _AtExit()
forget_all = _at_exit.forget
