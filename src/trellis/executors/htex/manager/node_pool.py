"""The nodes of a block, and whose they are, for tasks that spread over nodes (MPI). Pure."""

from __future__ import annotations

from dataclasses import dataclass

# Tasks that need fewer nodes may go first while a larger one waits for enough of them: that keeps nodes busy. But each
# task is overtaken so often at most, then nodes are kept free until it has its own: no task starves.
MOST_OVERTAKEN = 8


@dataclass(slots=True)
class _Waiting:
    nodes: int
    overtaken: int = 0


class NodePool:
    """The nodes of a block, and the tasks that wait for some of them, in order."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._order = {name: number for number, name in enumerate(names)}
        self._free = list(names)
        self._waiting: dict[int, _Waiting] = {}

    def __contains__(self, task: int) -> bool:
        return task in self._waiting

    def __len__(self) -> int:
        """Tasks that wait."""
        return len(self._waiting)

    @property
    def free(self) -> int:
        """Nodes that no task has."""
        return len(self._free)

    @property
    def waiting(self) -> list[int]:
        """Tasks, in order."""
        return list(self._waiting)

    def wait(self, task: int, nodes: int) -> None:
        self._waiting[task] = _Waiting(nodes)

    def remove(self, task: int) -> None:
        del self._waiting[task]

    def take(self) -> tuple[int, tuple[str, ...]] | None:
        """The task that is next, and its nodes; None when none can have what it needs."""
        overtaken: list[_Waiting] = []
        for task, waiting in self._waiting.items():
            if waiting.nodes <= len(self._free):
                for before in overtaken:
                    before.overtaken += 1
                del self._waiting[task]
                names, self._free = tuple(self._free[: waiting.nodes]), self._free[waiting.nodes :]
                return task, names
            if waiting.overtaken >= MOST_OVERTAKEN:
                return None
            overtaken.append(waiting)
        return None

    def put_back(self, names: tuple[str, ...]) -> None:
        # In the order of the block: neighbours stay neighbours.
        self._free = sorted([*self._free, *names], key=self._order.__getitem__)
