"""Which workers the real TaskVine has: what it says of them now and then, as messages about what has changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trellis.wire.vine import Resources, WorkerJoined, WorkerLeft, WorkerStatus

# Under this name our factory starts workers; in blocks, workers have the block's id in its place.
FACTORY_NAME = "trellis-factory"
_GONE = "its connection closed: it ended, had nothing to do for too long, or was killed"


class WorkerBook:
    """Workers that are connected, by the address that TaskVine calls them by."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}

    def look(self, rows: Iterable[dict[str, Any]]) -> list[WorkerJoined | WorkerLeft]:
        """Take in TaskVine's status of workers; gives what is new."""
        # One that has just connected has not said yet what it has.
        now = {row["addrport"]: row for row in rows if row.get("cores_total")}
        news: list[WorkerJoined | WorkerLeft] = []
        for address, row in self._rows.items():
            if address not in now:
                news.append(WorkerLeft(_name(row), row["hostname"], _GONE, row.get("total_tasks_running", 0)))
        for address, row in now.items():
            if address not in self._rows:
                news.append(WorkerJoined(_name(row), row["hostname"], _resources(row, "total"), _block(row)))
        self._rows = now
        return news

    def name(self, address: str | None) -> str:
        """The name of the worker at this address; the address itself when it is not known (any more)."""
        row = self._rows.get(address or "")
        return _name(row) if row is not None else address or ""

    def where(self, address: str) -> str:
        """Name and host of the worker at this address, for people."""
        row = self._rows.get(address)
        return f"{_name(row)} on {row['hostname']}" if row is not None else address

    def rows(self) -> list[dict[str, Any]]:
        """What TaskVine says of each."""
        return list(self._rows.values())

    def hosts_of(self, blocks: Iterable[str]) -> list[str]:
        """Hosts all of whose workers are of these blocks."""
        of_blocks: set[str] = set()
        others: set[str] = set()
        for row in self._rows.values():
            (of_blocks if row.get("factory_name") in set(blocks) else others).add(row["hostname"])
        return sorted(of_blocks - others)

    def allocations(self) -> list[Resources]:
        """What each has."""
        return [_resources(row, "total") for row in self._rows.values()]

    def statuses(self) -> list[WorkerStatus]:
        """What ``VineStatus`` tells of each worker."""
        return [self.status(row) for row in self._rows.values()]

    @staticmethod
    def status(row: Mapping[str, Any]) -> WorkerStatus:
        """What is told of a worker."""
        tasks = row.get("total_tasks_running", 0)
        return WorkerStatus(
            _name(row),
            row["hostname"],
            _resources(row, "total"),
            _resources(row, "inuse"),
            tasks,
            {},
            0,
            0.0,
            0.0,
            _block(row),
            row.get("factory_name") == FACTORY_NAME,
        )


def _block(row: Mapping[str, Any]) -> str:
    factory = row.get("factory_name") or ""
    return "" if factory == FACTORY_NAME else str(factory)


def _name(row: Mapping[str, Any]) -> str:
    # Only workers of a factory tell their own names.
    return str(row.get("workerid") or row["addrport"])


def _resources(row: Mapping[str, Any], which: str) -> Resources:
    return Resources(*[row.get(f"{name}_{which}") for name in ("cores", "memory", "disk", "gpus")])
