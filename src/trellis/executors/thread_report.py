"""What a thread pool tells people who ask: what each thread does, what that waits for, why a task waits. Words."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from trellis.core.interfaces import Attempt
from trellis.core.reports import Hindrance, Standing
from trellis.executors.thread_begun import Runs
from trellis.executors.thread_waits import name_of, name_of_future, needs_thread, waiting_of

# Futures that are named of those for which a thread waits.
_MOST_NAMES = 3

_SAME_POOL = "that needs a thread of the same pool"
_ADVICE = (
    "give the pool more max_threads, make the app that waits a join_app that returns the futures, or run the inner "
    "app on another executor"
)


class BusyThread(NamedTuple):
    """A thread that runs a task."""

    number: int
    name: str
    attempt: Attempt
    started_at: float
    words: str  # what it does, for people
    waits_for: str  # what that waits for; empty: it does not wait for futures
    stuck: bool  # it waits for what needs a thread of the same pool

    @property
    def hindrances(self) -> Sequence[Hindrance]:
        """What keeps its task from going on."""
        if not self.waits_for:
            return ()
        reason = f"the task waits for {self.waits_for}"
        if self.stuck:
            return (Hindrance(f"thread {self.name}", f"{reason}: {_SAME_POOL}", f"perhaps never: {_ADVICE}"),)
        return (Hindrance(f"thread {self.name}", reason, "when that has ended"),)


def look_at_threads(
    label: str, running: Sequence[tuple[int, Runs]], threads: Sequence[threading.Thread], now: float
) -> list[BusyThread]:
    """Look at the threads of the pool with this label; ``now`` by perf_counter."""
    futures = {id(runs[0].future) for _, runs in running if runs[0].future is not None}
    found = []
    for number, (attempt, started_at, begin) in running:
        thread = threads[number]
        waiting = waiting_of(thread.ident)
        words = f"thread {thread.name} has been running {name_of(attempt)} for {now - begin:.0f} s"
        stuck = waiting is not None and needs_thread(waiting, label, futures)
        waits_for = "" if waiting is None else _names(waiting.futures)
        if waits_for:
            words += f", which waits for {waits_for}" + (f": {_SAME_POOL}" if stuck else "")
        found.append(BusyThread(number, thread.name, attempt, started_at, words, waits_for, stuck))
    return found


def _names(futures: Sequence[Future[Any]]) -> str:
    more = len(futures) - _MOST_NAMES
    oldest = sorted(futures, key=lambda future: getattr(getattr(future, "task_record", None), "id", -1))
    return ", ".join(map(name_of_future, oldest[:_MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


def all_stuck(threads: Sequence[BusyThread], max_threads: int) -> str:
    """What to say when no thread can ever go on; empty: one can."""
    if len(threads) < max_threads or not all(thread.stuck for thread in threads):
        return ""
    count = "the only thread waits" if max_threads == 1 else f"all {max_threads} threads wait"
    return f"{count} for tasks of the same pool, which no thread is left for: {_ADVICE}"


def queued_standing(threads: Sequence[BusyThread], max_threads: int, position: int, queue: int) -> Standing:
    """The standing of a task that waits for a thread."""
    position = max(0, position)
    before = "it is the next" if not position else f"{position} {'task is' if position == 1 else 'tasks are'} before it"
    text = f"it waits for a thread of {max_threads}, {before}"
    hindrances = [
        Hindrance(
            f"thread {thread.name}",
            thread.words.removeprefix(f"thread {thread.name} "),
            "never, as long as all threads wait like this" if thread.stuck else "when that task has ended",
        )
        for thread in threads
    ]
    if stuck := all_stuck(threads, max_threads):
        what, _, advice = stuck.partition(": ")
        hindrances.insert(0, Hindrance(f"{max_threads} thread{'s' if max_threads > 1 else ''}", what, advice))
    return Standing("queued", text, position, queue, hindrances=hindrances)
