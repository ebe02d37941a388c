"""Progress of tasks while they run: ``trellis.progress()``, ``Config(progress=True)``, ``app.map(…, progress=True)``.

What is shown is counted from the records when it is shown; tasks do nothing for it. Where and how: ``screen``.
"""

from __future__ import annotations

import importlib
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from trellis.core.kinds import Instance, OrNone
from trellis.core.validation import check
from trellis.dataflow.final_tasks import IS_FINAL
from trellis.dataflow.states import States
from trellis.watching.amounts import duration, rate
from trellis.watching.bars import ProgressBar
from trellis.watching.pace import Pace
from trellis.watching.screen import the_screen
from trellis.watching.view import WatchedKernel

ALL = "all tasks"

_KERNEL = OrNone(Instance("a DataFlowKernel", methods=("add_observer", "submit_app")))
_BAD = (States.failed, States.dep_fail, States.cancelled)


class Counts(NamedTuple):
    """Tasks of an app, or of all."""

    final: int = 0
    failed: int = 0  # of the final ones: also those that could not run, or were cancelled
    submitted: int = 0

    def minus(self, other: Counts) -> Counts:
        return Counts(*(one - another for one, another in zip(self, other, strict=True)))


def count_tasks(kernel: WatchedKernel) -> dict[str, Counts]:
    """Counts of each app, in the order in which they were first seen to have ended tasks, or to have any."""
    counts: dict[str, Counts] = {}
    for app, states in list(kernel.final_tasks.by_app.items()):
        final = sum(states.values())
        counts[app] = Counts(final, sum(states.get(state, 0) for state in _BAD), final)
    open_ones = Counter(record.func_name for record in list(kernel.tasks.values()) if record.status not in IS_FINAL)
    for app, number in open_ones.items():
        final, failed, _ = counts.get(app, Counts())
        counts[app] = Counts(final, failed, final + number)
    return counts


class KernelBars:
    """Bars of a kernel's apps, and one of all its tasks.

    Args:
        kernel: whose tasks.
        from_now: tasks that are final already do not count.
        may_vanish: the bars need not be shown while nothing goes on.
    """

    def __init__(self, kernel: WatchedKernel, *, from_now: bool = False, may_vanish: bool = False) -> None:
        self._kernel = kernel
        self.subject: object = kernel
        self._before = {
            app: counts._replace(submitted=counts.final) for app, counts in count_tasks(kernel).items() if from_now
        }
        self._began = time.monotonic()
        self._pace = Pace()
        self._order: dict[str, None] = {}
        self.may_vanish = may_vanish

    def is_over(self) -> bool:
        return False

    def bars(self) -> Sequence[ProgressBar]:
        now = time.monotonic()
        counts = {app: of.minus(self._before.get(app, Counts())) for app, of in count_tasks(self._kernel).items()}
        counts = {app: of for app, of in counts.items() if of.submitted > 0}
        self._order.update(dict.fromkeys(counts))
        total = Counts(*(sum(column) for column in zip(*counts.values(), strict=True))) if counts else Counts()
        self._pace.note(now, total.submitted, total.final)
        apps = [_bar(app, counts[app]) for app in self._order if app in counts]
        if not apps:
            return ()
        return [_bar(self._title(), total, _note(total, self._pace.per_s, now - self._began)), *apps]

    def _title(self) -> str:
        """Which run it is, when there are several."""
        runs = {id(source.subject) for source in the_screen().sources if isinstance(source, KernelBars)}
        return f"{ALL} of run {os.path.basename(self._kernel.run_dir)}" if len(runs) > 1 else ALL


def _bar(name: str, counts: Counts, note: str = "") -> ProgressBar:
    failed = f"{counts.failed:,} failed" if counts.failed else ""
    return ProgressBar(name, counts.final, counts.submitted, counts.failed, ", ".join(filter(None, (failed, note))))


def _note(counts: Counts, per_s: float | None, seconds: float) -> str:
    """How long it has taken and how fast it is; the failed ones are named by the bar."""
    remaining = counts.submitted - counts.final
    words = [duration(seconds)]
    if per_s:
        words.append(rate(per_s))
        if remaining:
            words.append(f"{duration(remaining / per_s)} to go")
    return ", ".join(words)


class MapBar:
    """A bar of the tasks of one ``app.map``.

    Args:
        name: what stands before it.
        total: how many there will be; None: nobody knows.
    """

    may_vanish = False

    def __init__(self, name: str, total: int | None) -> None:
        self._name = name
        self._total = total
        self._lock = threading.Lock()
        self._submitted = self._final = self._failed = 0
        self._all_there = False
        self._began = time.monotonic()
        self._pace = Pace()
        self.subject: object = self

    def submitted(self) -> None:
        """Count a task that is there."""
        with self._lock:
            self._submitted += 1

    def ended(self, future: Future[Any]) -> None:
        """Count a task that is final."""
        bad = future.cancelled() or future._exception is not None  # not asked: that would be taken for looking at it
        with self._lock:
            self._final += 1
            self._failed += bad

    def no_more(self) -> None:
        """All tasks are there that will ever be."""
        with self._lock:
            self._all_there, self._total = True, self._submitted

    def is_over(self) -> bool:
        with self._lock:
            return self._all_there and self._final == self._submitted

    def bars(self) -> Sequence[ProgressBar]:
        with self._lock:
            counts = Counts(self._final, self._failed, self._submitted if self._total is None else self._total)
        now = time.monotonic()
        self._pace.note(now, self._submitted, counts.final)
        bar = _bar(self._name, counts, _note(counts, self._pace.per_s, now - self._began))
        return [bar if self._total is not None else bar._replace(total=None)]


def map_bar(app: str, iterables: Sequence[Any]) -> MapBar:
    """A bar for a map of an app over these; it is shown from now on."""
    ending = [one for one in iterables if not isinstance(one, itertools.repeat)]  # such as a method's object
    known = [len(one) for one in ending if hasattr(one, "__len__")]
    bar = MapBar(f"{app}.map", min(known) if known and len(known) == len(ending) else None)
    the_screen().add(bar)
    return bar


class Progress:
    """The bars of a run from its beginning to its end, as ``Config(progress=True)`` says."""

    def __init__(self, kernel: WatchedKernel) -> None:
        self._bars = KernelBars(kernel, may_vanish=True)

    def begin(self) -> None:
        the_screen().add(self._bars)

    def end(self) -> None:
        the_screen().remove(self._bars)


@contextmanager
def progress(dfk: Any = None) -> Iterator[None]:
    """Show bars of the apps while the block runs: on a terminal, or in a notebook; elsewhere nothing is shown.

    Tasks count that are not final at its beginning, or are submitted in it. It waits for none of them. ::

        with trellis.progress():
            results = [future.result() for future in map(app, range(1000))]

    Args:
        dfk: whose tasks; None means the kernel that is loaded.

    Raises:
        NoDataFlowKernelError: no configuration is loaded.
        ParameterTypeError: ``dfk`` is no kernel.
    """
    kernel = check("progress", "dfk", dfk, _KERNEL)
    if kernel is None:
        kernel = _loaded_kernel()
    bars = KernelBars(kernel, from_now=True)
    screen = the_screen()
    screen.add(bars)
    try:
        yield
    finally:
        screen.remove(bars)


def _loaded_kernel() -> Any:
    get: Callable[[], Any] = importlib.import_module("trellis.dataflow.dflow").DataFlowKernelLoader.dfk
    return get()
