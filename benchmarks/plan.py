"""Which system does which cases, in which order, and how long that will take, roughly. Pure: runs nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from benchmarks.cases import CASES
from benchmarks.systems import SYSTEMS

# Starting Python, and reaping what is left afterwards.
_EVERY_RUN_S = 0.5


@dataclass(frozen=True)
class Run:
    """A system in a process of its own, and the cases that it does there."""

    system: str
    cases: tuple[str, ...]
    repeat: int

    @property
    def seconds(self) -> float:
        """Roughly."""
        opened = any(CASES[name].bare is None for name in self.cases)
        start_s = SYSTEMS[self.system].start_s if opened else 0.0
        return _EVERY_RUN_S + start_s + sum(CASES[name].seconds for name in self.cases)


def make_plan(systems: Sequence[str], cases: Collection[str], repeats: int) -> list[Run]:
    """All runs in their order.

    Systems are interleaved, and each round starts with another one: a slow minute of the machine hits them all.
    """
    plan: list[Run] = []
    for repeat in range(repeats):
        turn = repeat * len(systems) // repeats
        wanted = [name for name in CASES if name in cases and CASES[name].repeats > repeat]
        for system in [*systems[turn:], *systems[:turn]]:
            mine = [name for name in wanted if system in CASES[name].systems]
            shared = tuple(name for name in mine if not CASES[name].alone and CASES[name].bare is None)
            plan += [Run(system, shared, repeat)] if shared else []
        for system in systems:
            plan += [Run(system, (name,), repeat) for name in wanted if _apart(name) and system in CASES[name].systems]
    return plan


def _apart(name: str) -> bool:
    return CASES[name].alone or CASES[name].bare is not None
