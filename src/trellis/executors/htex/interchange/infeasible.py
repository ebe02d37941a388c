"""Kinds of waiting tasks that no manager could ever hold, and since when. No sockets, clocks or threads here."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from trellis.executors.htex.interchange.demands import Kind, describe_demand, describe_node, load_of
from trellis.executors.htex.interchange.manager_table import Manager

# Tasks that fit no manager that is there wait so long for one that they fit: nodes of a block do not come all at once.
INFEASIBLE_S = 30.0


class UnfitWatch:
    """Which kinds fit nobody, and when that has lasted too long."""

    def __init__(self) -> None:
        self._due: dict[Kind, float] = {}
        self._fits: dict[Kind, bool] = {}  # by the managers that are there

    def __contains__(self, kind: Kind) -> bool:
        return kind in self._due

    def next_deadline(self) -> float | None:
        return min(self._due.values(), default=None) if self._due else None

    def forget_verdicts(self) -> None:
        """Managers came or went."""
        self._fits.clear()

    def review(self, kinds: Collection[Kind], managers: Mapping[str, Manager], now: float) -> None:
        """These are the kinds of tasks that wait."""
        for kind in kinds:
            if kind not in self._fits:
                self._fits[kind] = any(load_of(kind.demand, m.registration) is not None for m in managers.values())
            if self._fits[kind] or not managers:
                self._due.pop(kind, None)
            else:
                self._due.setdefault(kind, now + INFEASIBLE_S)
        for known in (self._due, self._fits):
            for kind in known.keys() - set(kinds):
                del known[kind]

    def overdue(self, now: float) -> list[Kind]:
        return [kind for kind, due in self._due.items() if now >= due]


def reason_of(kind: Kind, managers: Mapping[str, Manager]) -> str:
    """For people; there is a manager."""
    assert kind.demand is not None
    nodes = [manager.registration for manager in managers.values()]
    largest = max(nodes, key=lambda node: (node.nodes, node.cpus, node.memory_bytes, node.gpus, node.manager))
    count = "the only manager" if len(nodes) == 1 else f"the largest of {len(nodes)} managers"
    return f"it asks for {describe_demand(kind.demand)}, and no manager has so much: {count}, {describe_node(largest)}"
