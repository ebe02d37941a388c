"""What tasks of a category need, found out by measuring those that have ended. Pure.

A first attempt gets the label, one that had too little is run again with the maximum. Three ways to a label: the
largest that was seen ("max"), the one with the most tasks per share of a worker and time ("max-xput"), and the least
expected waste over the buckets that the measured values fall into ("bucketing").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from trellis.executors.taskvine.embedded.allocation import largest
from trellis.wire.vine import UNKNOWN, Resources

# Tasks that are measured with whole workers before labels are used.
STEADY_TASKS = 25
# Labels are multiples of this, so that two tasks of nearly the same size do not make two labels.
_ROUND = {"cores": 1.0, "memory": 250.0, "disk": 250.0, "gpus": 1.0}
_MOST_SAMPLES = 1_000


@dataclass(slots=True)
class Category:
    """A category of tasks, and what those that have ended used.

    Args:
        algorithm: "fixed" (nothing is found out), "max", "max-xput" or "bucketing".
        steady_tasks: as ``STEADY_TASKS``.
    """

    algorithm: str = "fixed"
    steady_tasks: int = STEADY_TASKS
    seen: Resources = UNKNOWN  # the largest of each that was ever used
    done: int = 0
    total_s: float = 0.0
    _samples: list[tuple[Resources, float]] = field(default_factory=list)
    _label: Resources = UNKNOWN

    @property
    def mean_s(self) -> float | None:
        return self.total_s / self.done if self.done else None

    def note(self, measured: Resources, duration_s: float) -> None:
        """A task has ended."""
        self.done += 1
        self.total_s += duration_s
        if self.algorithm == "fixed" or measured == UNKNOWN:
            return
        self.seen = largest(self.seen, measured)
        self._samples.append((measured, duration_s))
        del self._samples[:-_MOST_SAMPLES]
        # Each time in the beginning, then every tenth: labels change little.
        if len(self._samples) >= self.steady_tasks and (self.done < 2 * self.steady_tasks or self.done % 10 == 0):
            self._label = self._find_label()

    def first(self, asked: Resources) -> Resources:
        """What a first attempt asks for; what the user said stands."""
        return asked if self._label == UNKNOWN else _filled(asked, self._label)

    def _find_label(self) -> Resources:
        if self.algorithm == "max":
            return Resources(*[_round_up(name, getattr(self.seen, name)) for name in _ROUND])
        choose = best_throughput if self.algorithm == "max-xput" else least_waste
        labels = []
        for name, step in _ROUND.items():
            used = [(getattr(resources, name), duration_s) for resources, duration_s in self._samples]
            known = [(value, duration_s) for value, duration_s in used if value is not None]
            labels.append(choose(known, step) if known else None)
        return Resources(*labels)


def _filled(asked: Resources, label: Resources) -> Resources:
    pairs = [(getattr(asked, name), getattr(label, name)) for name in _ROUND]
    return Resources(*[said or found for said, found in pairs])


def _round_up(name: str, value: float | None) -> float | None:
    step = _ROUND[name]
    return None if value is None else math.ceil(value / step) * step


def _buckets(samples: list[tuple[float, float]], step: float) -> list[tuple[float, int, float]]:
    """Ascending (upper bound, number of tasks, sum of their durations)."""
    found: dict[float, tuple[int, float]] = {}
    for value, duration_s in samples:
        bound = math.ceil(value / step) * step
        number, total_s = found.get(bound, (0, 0.0))
        found[bound] = (number + 1, total_s + duration_s)
    return [(bound, *found[bound]) for bound in sorted(found)]


def best_throughput(samples: list[tuple[float, float]], step: float) -> float:
    """The label with the most tasks done per resource and time, when those that need more are run again with the
    maximum. ``samples``: value and duration in seconds of each task."""
    buckets = _buckets(samples, step)
    largest_value = buckets[-1][0]
    number = sum(count for _, count, _ in buckets)
    total_s = sum(seconds for _, _, seconds in buckets)

    def rate(label: float) -> float:
        above = sum(count for bound, count, _ in buckets if bound > label)
        above_s = sum(seconds for bound, _, seconds in buckets if bound > label)
        share = largest_value / label if label else math.inf
        return (share * (number - above) + above) / (total_s + above_s or 1.0)

    return max((bound for bound, _, _ in buckets), key=lambda label: (rate(label), label))


def least_waste(samples: list[tuple[float, float]], step: float) -> float:
    """The label with the least expected waste of resource times time: what is given and not used, and what tasks used
    that are run again with the maximum. ``samples``: value and duration in seconds of each task."""
    buckets = _buckets(samples, step)
    largest_value = buckets[-1][0]

    def waste(label: float) -> float:
        kept = sum((label - bound) * seconds for bound, _, seconds in buckets if bound <= label)
        again = sum((label + largest_value - bound) * seconds for bound, _, seconds in buckets if bound > label)
        return kept + again

    return min((bound for bound, _, _ in buckets), key=lambda label: (waste(label), -label))
