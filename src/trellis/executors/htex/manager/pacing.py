"""How long the tasks of each function take, and how much work is with a node's workers. Pure.

A worker's worth of work is one task, or as many short ones as it runs in a moment. No more than that is offered for
each worker, so that whatever is offered is reached within milliseconds. A function that has not been seen yet is taken
for a long one, whatever ran before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from trellis.executors.common.lookahead import AHEAD_S, MOST_READY, LookAhead

# Shares of workers are summed up in floating point.
ROUNDING = 1e-6


class Shares:
    """How much of a worker each task takes, as things are at this moment."""

    def __init__(self, functions: Mapping[int, int], share: Callable[[int], float]) -> None:
        self._functions = functions
        self._share = share  # of a function

    def of(self, task: int) -> float:
        return self._share(self._functions[task])

    def fitting(self, tasks: Iterable[int], room: float) -> int:
        """How many of these tasks, in their order, there is room for."""
        functions, last, share, count = self._functions, None, 0.0, 0
        room += ROUNDING
        for task in tasks:
            function = functions[task]
            if function != last:  # seldom
                last, share = function, self._share(function)
            room -= share
            if room < 0:
                break
            count += 1
        return count


class Pacing:
    """Knows the functions of all tasks of a node, and counts those that are offered."""

    def __init__(self) -> None:
        self._functions: dict[int, int] = {}  # of each task
        self._look_ahead: dict[int, LookAhead] = {}  # of functions that have been seen
        self._shares: dict[int, float] = {}  # of some functions, as they are with so many workers ready
        self._workers = 0
        self._whole: set[int] = set()  # tasks that take a worker each
        # How many tasks of each function take the time of workers that are ready.
        self._offered: defaultdict[int, int] = defaultdict(int)

    # -- tasks -------------------------------------------------------------------------------------------------

    def add(self, ids: Sequence[int], functions: Sequence[int] | None) -> None:
        """Note tasks that are here now. ``functions``: by number; None: one and the same."""
        self._functions.update(dict.fromkeys(ids, 0) if functions is None else zip(ids, functions, strict=True))

    def run_whole(self, task: int) -> None:
        """Note that a task has started that takes a worker of its own, whatever it calls: one of a gang."""
        self._whole.add(task)

    def offer(self, ids: Iterable[int]) -> None:
        """Note that these go to the workers."""
        functions = [self._functions[task] for task in ids]
        for function in set(functions):
            self._offered[function] += functions.count(function)

    def take_back(self, task: int) -> None:
        """Note that a task takes no more of the workers' time: it is here again, or its worker is being ended."""
        if self._whole and task in self._whole:
            self._whole.discard(task)
        else:
            self._take(self._functions[task], 1)

    def _take(self, function: int, count: int) -> None:
        self._offered[function] -= count
        if not self._offered[function]:
            del self._offered[function]

    def remove(self, ids: Iterable[int]) -> None:
        """Note that tasks that take none of the workers' time are no longer here."""
        for task in ids:
            del self._functions[task]

    # -- durations ---------------------------------------------------------------------------------------------

    def finish(self, tasks: Sequence[int], durations_s: Sequence[float] | None) -> bool:
        """Note how long tasks have run that are no longer here; say whether some of them were long."""
        long = False
        for task in self._whole.intersection(tasks):
            self._whole.discard(task)
            self._offered[self._functions[task]] += 1  # and with the others it goes
        functions = list(map(self._functions.pop, tasks))
        for function in set(functions):
            count = functions.count(function)
            self._take(function, count)
            if durations_s is None:
                continue
            total_s = (
                sum(durations_s)
                if count == len(functions)
                else sum(durations_s[place] for place, other in enumerate(functions) if other == function)
            )
            long |= self._note(function, count, total_s)
        return long

    def _note(self, function: int, count: int, duration_s: float) -> bool:
        look_ahead = self._look_ahead.get(function)
        if look_ahead is None:
            look_ahead = self._look_ahead[function] = LookAhead(MOST_READY)
        look_ahead.note(count, duration_s)
        self._shares.pop(function, None)
        return duration_s > count * AHEAD_S

    def forget_functions(self, functions: Iterable[int]) -> None:
        for function in functions:
            self._look_ahead.pop(function, None)
            self._shares.pop(function, None)

    # -- what follows ------------------------------------------------------------------------------------------

    def _share(self, function: int, workers: int) -> float:
        """How much of a worker one task of this function takes."""
        if workers != self._workers:
            self._workers = workers
            self._shares.clear()
        share = self._shares.get(function)
        if share is None:
            known = self._look_ahead.get(function)
            share = 1.0 if known is None or not workers else workers / (workers + known.ahead(workers))
            self._shares[function] = share
        return share

    def shares(self, workers: int) -> Shares:
        """``workers`` are ready."""
        return Shares(self._functions, lambda function: self._share(function, workers))

    def load(self, workers: int) -> float:
        """How many workers' worth of work is offered."""
        load = float(len(self._whole))
        for function, count in self._offered.items():
            load += count * self._share(function, workers)
        return load

    def long(self, workers: int) -> int:
        """How many tasks are offered that take a worker each."""
        counts = (count for function, count in self._offered.items() if self._share(function, workers) == 1.0)
        return len(self._whole) + sum(counts)

    def check_invariants(self, tasks: Iterable[int], offered: Iterable[int]) -> None:
        """``tasks``: all that are here; ``offered``: those that take the time of workers that are ready."""
        assert self._functions.keys() == set(tasks), "functions are kept of other tasks than there are"
        counts = Counter(self._functions[task] for task in set(offered) - self._whole)
        assert counts == self._offered, "tasks that are offered are miscounted"
