"""Queries of the pages: what each host and block has done, and what TaskVine keeps where."""

from __future__ import annotations

from typing import NamedTuple

from trellis.monitoring.queries import pages_own
from trellis.monitoring.queries.pages_runs import RecordedRun
from trellis.monitoring.queries.pages_source import RecordSource


class HostWork(NamedTuple):
    """What ran on one host, of one block."""

    host: str
    block_id: str
    executor: str
    attempts: int
    failed: int
    running: int
    busy_s: float


class FileSummary(NamedTuple):
    """A file or a library of TaskVine's."""

    name: str
    kind: str
    size_bytes: int
    transfers: int
    moved_bytes: int
    hits: int  # that somebody found it where it was needed
    holders: tuple[str, ...]  # who has it, or runs it, as far as is known
    failures: int


class WorkerFiles(NamedTuple):
    """What came to one worker."""

    worker: str
    transfers: int
    moved_bytes: int
    hits: int
    files: int  # that it has


def host_work(source: RecordSource, run: RecordedRun) -> list[HostWork]:
    """Sums by host, block and executor; attempts that never ran have no host."""
    rows = source.rows(
        "SELECT host, block, label, COUNT(*), SUM(bad), SUM(CASE WHEN e IS NULL THEN 1 ELSE 0 END), "
        f"SUM(COALESCE(e, :until) - b) FROM {pages_own.ran(source, run)} y "
        "GROUP BY host, block, label ORDER BY 1, 2, 3",
        pages_own.run_values(source, run),
    )
    return [
        HostWork(str(host), str(block), str(label), int(number), int(failed), int(running), float(busy_s or 0.0))
        for host, block, label, number, failed, running, busy_s in rows
    ]


def block_reasons(source: RecordSource, run: RecordedRun) -> dict[tuple[str, str], str]:
    """What a batch system has last said of each block that it said something of."""
    if not source.has("trellis_block"):
        return {}
    rows = source.rows(
        "SELECT b.executor, b.block_id, b.reason FROM trellis_block b JOIN trellis_run r ON r.run = b.run "
        "WHERE r.run_id = :run ORDER BY b.at",
        {"run": run.run_id},
    )
    return {(str(label), str(block)): str(reason) for label, block, reason in rows if reason}


_FILES = "FROM trellis_file f JOIN trellis_run r ON r.run = f.run WHERE r.run_id = :run"
_MOVED = "SUM(CASE WHEN f.event = 'transferred' THEN f.size_bytes ELSE 0 END)"
_MOVES = "SUM(CASE WHEN f.event = 'transferred' THEN 1 ELSE 0 END)"
_HITS = "SUM(CASE WHEN f.event = 'cached' THEN 1 ELSE 0 END)"
_HERE = (
    "SELECT f.name AS name, f.worker AS worker, MAX(CASE WHEN f.event IN ('transferred', 'cached', 'started') "
    "THEN f.id ELSE 0 END) AS came, "
    "MAX(CASE WHEN f.event IN ('lost', 'removed', 'failed') THEN f.id ELSE 0 END) AS went "
    f"{_FILES} AND f.worker <> '' GROUP BY f.name, f.worker"
)


def files(source: RecordSource, run: RecordedRun, most: int = 500) -> list[FileSummary]:
    """Files and libraries, those that moved most first."""
    if not source.has("trellis_file"):
        return []
    values = {"run": run.run_id, "most": most}
    rows = source.rows(
        f"SELECT f.name, f.kind, MAX(f.size_bytes), {_MOVES}, {_MOVED}, {_HITS}, "
        f"SUM(CASE WHEN f.event = 'failed' THEN 1 ELSE 0 END) {_FILES} GROUP BY f.name, f.kind "
        "ORDER BY 5 DESC, 3 DESC, f.name LIMIT :most",
        values,
    )
    holders: dict[str, list[str]] = {}
    for name, worker in source.rows(f"SELECT name, worker FROM ({_HERE}) h WHERE came > went ORDER BY 1, 2", values):
        holders.setdefault(str(name), []).append(str(worker))
    return [
        FileSummary(
            str(name), str(kind), int(size), int(moves), int(moved), int(hits), tuple(holders.get(name, ())), int(bad)
        )
        for name, kind, size, moves, moved, hits, bad in rows
    ]


def worker_files(source: RecordSource, run: RecordedRun) -> list[WorkerFiles]:
    """What each worker got."""
    if not source.has("trellis_file"):
        return []
    values = {"run": run.run_id}
    found = source.rows(f"SELECT worker, COUNT(*) FROM ({_HERE}) h WHERE came > went GROUP BY worker", values)
    held = {str(worker): int(number) for worker, number in found}
    rows = source.rows(
        f"SELECT f.worker, {_MOVES}, {_MOVED}, {_HITS} {_FILES} GROUP BY f.worker ORDER BY 3 DESC, 1", values
    )
    return [
        WorkerFiles(str(worker) or "the manager", int(moves), int(moved), int(hits), int(held.get(worker, 0)))
        for worker, moves, moved, hits in rows
    ]
