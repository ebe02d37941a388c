"""What the runs say together: medians, spreads, promises. Measures and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from statistics import median
from typing import NamedTuple

from benchmarks.figures import TARGETS, Verdict, judge
from benchmarks.systems import SYSTEMS

TITLES = {name: system.title for name, system in SYSTEMS.items()}


class Spread(NamedTuple):
    median: float
    min: float
    max: float


Summary = Mapping[str, Mapping[str, Spread]]  # by system and figure


@dataclass(frozen=True)
class Report:
    """Everything that was found, by system and figure; failures by system and case."""

    when: datetime
    machine: Mapping[str, object]
    values: Mapping[str, Mapping[str, Sequence[float]]]
    failures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def summary(self) -> Summary:
        """Of the systems that gave figures, in the order in which systems are listed."""
        return {
            system: {
                figure: Spread(median(values), min(values), max(values))
                for figure, values in self.values[system].items()
            }
            for system in SYSTEMS
            if self.values.get(system)
        }

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Of all targets, also those that were not measured."""
        medians = {
            system: {figure: spread.median for figure, spread in figures.items()}
            for system, figures in self.summary.items()
        }
        return [judge(target, medians, TITLES) for target in TARGETS]

    def ratio(self, system: str, figure: str, other: str) -> float | None:
        """How many times the figure of ``other`` this one is; None when one of them was not measured."""
        mine, base = (self.summary.get(name, {}).get(figure) for name in (system, other))
        return mine.median / base.median if mine is not None and base is not None and base.median else None

    @property
    def headline(self) -> str:
        """When and on what, in one line."""
        versions = self.machine.get("versions")
        names = versions if isinstance(versions, Mapping) else {}
        shown = ", ".join(f"{name} {version}" for name, version in names.items() if name in _NAMED)
        return (
            f"{self.when:%-d %B %Y}, {self.machine.get('processor')}, {self.machine.get('usable_cores')} cores, "
            f"Python {self.machine.get('python')}" + (f"; {shown}" if shown else "")
        )


# The peers; what else is installed is in the JSON file.
_NAMED = ("parsl", "loky", "executorlib", "distributed", "ray")
