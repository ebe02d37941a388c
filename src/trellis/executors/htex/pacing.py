"""How long the tasks of each function take, and how much work is with a node's workers. Pure.

A worker's worth of work is one task, or as many short ones as it runs in a moment. No more than that is offered for
each worker, so that whatever is offered is reached within milliseconds. A function that has not been seen yet is taken
for a long one, whatever ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from trellis.executors.htex.pace import MOST_READY, Pace

# Shares of workers are summed up in floating point.
ROUNDING = 1e-6


class Pacing:
    """Knows the functions of all tasks of a node, and counts those that are offered."""

    def __init__(self) -> None:
        self._functions: dict[int, int] = {}  # of each task
        self._paces: dict[int, Pace] = {}  # of functions that have been seen
        self._whole: set[int] = set()  # tasks that take a worker each
        self._offered: dict[int, int] = {}  # how many tasks of each function take the time of workers that are ready

    # -- tasks -------------------------------------------------------------------------------------------------

    def receive(self, ids: Sequence[int], functions: Sequence[int] | None) -> None:
        """``functions``: by number; None: one and the same."""
        self._functions.update(dict.fromkeys(ids, 0) if functions is None else zip(ids, functions, strict=True))

    def run_whole(self, task: int) -> None:
        """It has started, and whatever it calls it takes a worker of its own: one of a gang."""
        self._whole.add(task)

    def offer(self, ids: Iterable[int]) -> None:
        """These go to the workers."""
        offered = self._offered
        for task in ids:
            function = self._functions[task]
            offered[function] = offered.get(function, 0) + 1

    def withdraw(self, task: int) -> None:
        """It takes no time of the workers any more: it has ended, is taken back, or its worker is being ended."""
        if task in self._whole:
            self._whole.discard(task)
            return
        function = self._functions[task]
        self._offered[function] -= 1
        if not self._offered[function]:
            del self._offered[function]

    def forget(self, ids: Iterable[int]) -> None:
        """These are no longer here."""
        for task in ids:
            del self._functions[task]

    # -- durations ---------------------------------------------------------------------------------------------

    def note(self, tasks: Sequence[int], durations_s: Sequence[float]) -> None:
        """So long these tasks have run; any that are not known are passed over."""
        totals: dict[int, list[float]] = {}
        for task, duration_s in zip(tasks, durations_s, strict=True):
            function = self._functions.get(task)
            if function is not None:
                totals.setdefault(function, []).append(duration_s)
        for function, durations in totals.items():
            pace = self._paces.get(function)
            if pace is None:
                pace = self._paces[function] = Pace(MOST_READY)
            pace.note(len(durations), sum(durations))

    def forget_functions(self, functions: Iterable[int]) -> None:
        for function in functions:
            self._paces.pop(function, None)

    # -- what follows ------------------------------------------------------------------------------------------

    def _share(self, function: int, workers: int) -> float:
        """How much of a worker one task of this function takes."""
        pace = self._paces.get(function)
        return 1.0 if pace is None or not workers else workers / (workers + pace.ahead(workers))

    def shares(self, workers: int) -> Callable[[int], float]:
        """How much of a worker each task takes, as things are now; ``workers`` are ready."""
        functions, known = self._functions, dict[int, float]()

        def share(task: int) -> float:
            function = functions[task]
            found = known.get(function)
            if found is None:
                found = known[function] = self._share(function, workers)
            return found

        return share

    def load(self, workers: int) -> float:
        """How many workers' worth of work is offered."""
        shares = (count * self._share(function, workers) for function, count in self._offered.items())
        return len(self._whole) + sum(shares)

    def long(self, workers: int) -> int:
        """How many tasks are offered that take a worker each."""
        counts = (count for function, count in self._offered.items() if self._share(function, workers) == 1.0)
        return len(self._whole) + sum(counts)

    def check_invariants(self, tasks: Iterable[int], offered: Iterable[int]) -> None:
        """``tasks``: all that are here; ``offered``: those that take the time of workers that are ready."""
        assert self._functions.keys() == set(tasks), "functions are kept of other tasks than there are"
        counts: dict[int, int] = {}
        for task in set(offered) - self._whole:
            counts[self._functions[task]] = counts.get(self._functions[task], 0) + 1
        assert counts == self._offered, "tasks that are offered are miscounted"
