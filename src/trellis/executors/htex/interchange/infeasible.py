"""Kinds of waiting tasks that no manager could ever hold, and since when. No sockets, clocks or threads here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from trellis.executors.htex.interchange.demands import DemandKind, demand_on, describe_demand, describe_node
from trellis.executors.htex.interchange.manager_table import ManagerTable
from trellis.wire.messages import Register

# Tasks that fit no manager that is there wait so long for one that they fit: nodes of a block do not come all at once.
INFEASIBLE_S = 30.0


class InfeasibleKinds:
    """Kinds of tasks that fit nobody, and when that has lasted too long."""

    def __init__(self, managers: ManagerTable) -> None:
        self._managers = managers
        self._due: dict[DemandKind, float] = {}
        self._fits: dict[DemandKind, bool] = {}  # some managers, as they were after so many changes
        self._changes = 0
        self.due: Mapping[DemandKind, float] = self._due  # for readers

    def __contains__(self, kind: DemandKind) -> bool:
        return kind in self._due

    def review(self, kinds: Collection[DemandKind], now: float) -> None:
        """Judge the kinds of tasks that wait: these."""
        if self._changes != self._managers.arrivals:
            self._changes = self._managers.arrivals
            self._fits.clear()
        for kind in kinds:
            if self._fits_anybody(kind) or not self._managers.entries:
                self._due.pop(kind, None)
            else:
                self._due.setdefault(kind, now + INFEASIBLE_S)
        for known in (self._due, self._fits):
            for kind in known.keys() - set(kinds):
                del known[kind]

    def _fits_anybody(self, kind: DemandKind) -> bool:
        fits = self._fits.get(kind)
        if fits is None:
            fits = self._fits[kind] = any(demand_on(node, kind.demand) is not None for node in self._nodes())
        return fits

    def _nodes(self) -> Iterable[Register]:
        return (manager.registration for manager in self._managers.entries.values())

    def overdue(self, now: float) -> list[DemandKind]:
        return [kind for kind, due in self._due.items() if now >= due]

    def reason_of(self, kind: DemandKind) -> str:
        """Why tasks of this kind are given up, for people; there is a manager."""
        assert kind.demand is not None
        nodes = list(self._nodes())
        largest = max(nodes, key=lambda node: (node.nodes, node.cpus, node.memory_bytes, node.gpus, node.manager))
        count = "the only manager" if len(nodes) == 1 else f"the largest of {len(nodes)} managers"
        asked = describe_demand(kind.demand)
        return f"it asks for {asked}, and no manager has so much: {count}, {describe_node(largest)}"
