"""Queries of the pages: one run over time, in bins. The database makes the sums, so a million tasks can be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

from trellis.monitoring.queries import pages_own
from trellis.monitoring.queries.pages_runs import FINAL, RecordedRun
from trellis.monitoring.queries.pages_source import RecordSource

Series = list[float]


@dataclass(frozen=True, slots=True)
class Bins:
    """A span of time in equal parts."""

    start: float
    width: float
    number: int

    @classmethod
    def of(cls, run: RecordedRun, number: int, least_s: float = 0.0) -> Bins:
        """Bins of all of a run; none is shorter than ``least_s``."""
        width = max(run.seconds / number, least_s, 1e-3)
        return cls(run.began, width, max(1, min(number, int(run.seconds / width + 0.999999))))

    @property
    def middles(self) -> Series:
        return [self.start + (number + 0.5) * self.width for number in range(self.number)]

    @property
    def ends(self) -> Series:
        return [self.start + (number + 1) * self.width for number in range(self.number)]


class NodeLife(NamedTuple):
    """A manager or worker of an executor, over the run; times are seconds since 1970."""

    uid: str
    hostname: str
    block_id: str
    workers: int
    cpus: int
    memory_bytes: int
    python: str
    came: float
    heard: float  # the last time
    gone: float | None  # None: it is there


class BlockState(NamedTuple):
    """A block has a state from this time on."""

    executor: str
    block_id: str
    job_id: str
    at: float
    state: str


def states_over_time(source: RecordSource, run: RecordedRun, bins: Bins) -> dict[str, Series]:
    """How many tasks are in each state at the end of each bin."""
    invoked = _sum(_per_bin(source, run, bins, "task", "task_time_invoked"))
    launched = _sum(_per_bin(source, run, bins, '"try"', "task_try_time_launched"))
    begun = _sum(_per_bin(source, run, bins, '"try"', "task_try_time_running"))
    ran = _sum(_per_bin(source, run, bins, '"try"', "task_try_time_returned", "task_try_time_running IS NOT NULL"))
    # Attempts that never ran: their workers were lost, or they were cancelled in the queue.
    lost = _sum(
        _per_bin(
            source, run, bins, '"try"', "task_try_time_returned",
            "task_try_time_running IS NULL AND task_try_time_launched IS NOT NULL",
        )
    )  # fmt: skip
    names = ", ".join(f"'{name}'" for name in FINAL)
    per_state = _per_bin(source, run, bins, "status", "timestamp", f"task_status_name IN ({names})", "task_status_name")
    finals = {state: list(accumulate(counts)) for state, counts in per_state.items()}
    series = {
        "running": [max(b - r, 0) for b, r in zip(begun, ran, strict=True)],
        "launched": [max(a - b - c, 0) for a, b, c in zip(launched, begun, lost, strict=True)],
    }
    ended = [sum(finals[state][number] for state in finals) for number in range(bins.number)]
    series["pending"] = [
        max(invoked[number] - ended[number] - series["running"][number] - series["launched"][number], 0)
        for number in range(bins.number)
    ]
    return {**finals, **series}


def ended_per_bin(source: RecordSource, run: RecordedRun, bins: Bins) -> Series:
    """How many tasks became final in each bin."""
    found = _per_bin(source, run, bins, "task", "task_time_returned")
    return found.get("", [0.0] * bins.number)


def _sum(found: Mapping[str, Series]) -> Series:
    return list(accumulate(found[""]))


def _per_bin(
    source: RecordSource, run: RecordedRun, bins: Bins, table: str, column: str, where: str = "", group: str = ""
) -> dict[str, Series]:
    """Rows per bin of a column of times, by what they are grouped by."""
    number = source.whole(f"({source.seconds(column)} - :start) / :width")
    condition = f"AND {where}" if where else ""
    rows = source.rows(
        f"SELECT {group or chr(39) * 2} AS grp, {number} AS bin, COUNT(*) FROM {table} "
        f"WHERE run_id = :run AND {column} IS NOT NULL {condition} GROUP BY 1, 2",
        {"run": run.run_id, "start": bins.start, "width": bins.width},
    )
    found: dict[str, Series] = {} if group else {"": [0.0] * bins.number}
    for key, index, count in rows:
        series = found.setdefault(str(key), [0.0] * bins.number)
        series[min(max(int(index), 0), bins.number - 1)] += count
    return found


# -- how busy ----------------------------------------------------------------------------------------------------


def busy(
    source: RecordSource, run: RecordedRun, bins: Bins, keys: Sequence[Literal["app", "host"]] = ("app",)
) -> dict[tuple[str, ...], Series]:
    """How many attempts ran, on average over each bin, by app or host or both."""
    chosen = ", ".join(f"{key} AS k{number}" for number, key in enumerate(keys))
    attempts = (
        f"SELECT {chosen}, CASE WHEN b < :start THEN :start ELSE b END AS b, COALESCE(e, :until) AS e "
        f"FROM {pages_own.ran(source, run)} y WHERE b < :stop AND COALESCE(e, :until) > :start"
    )
    names = ", ".join(f"k{number}" for number in range(len(keys)))
    values: dict[str, object] = {
        **pages_own.run_values(source, run),
        "start": bins.start,
        "width": bins.width,
        "stop": bins.start + bins.width * bins.number,
    }

    def events(column: str, where: str = "") -> list[tuple[tuple[str, ...], int, int, float]]:
        index = source.whole(f"({column} - :start) / :width")
        rows = source.rows(
            # Times are made once for each attempt, and not wherever they are compared.
            f"WITH a AS MATERIALIZED ({attempts}) SELECT {names}, {index} AS bin, COUNT(*), SUM({column} - :start) "
            f"FROM a {where} GROUP BY {names}, bin",
            values,
        )
        return [(tuple(map(str, row[:-3])), int(row[-3]), int(row[-2]), float(row[-1])) for row in rows]

    begins, ends = events("b"), events("e", "WHERE e < :stop")
    found: dict[tuple[str, ...], Series] = {}
    steps: dict[tuple[str, ...], Series] = {}
    for sign, rows in ((1, begins), (-1, ends)):
        for key, index, count, total in rows:
            place = min(max(index, 0), bins.number - 1)
            shares = found.setdefault(key, [0.0] * bins.number)
            # What begins here is busy to the end of the bin; what ends here was counted to the end of it.
            shares[place] += sign * (count * (place + 1) * bins.width - total)
            steps.setdefault(key, [0.0] * (bins.number + 1))[place + 1] += sign * count
    for key, shares in found.items():
        running = accumulate(steps[key])
        found[key] = [max(share / bins.width + before, 0.0) for share, before in zip(shares, running, strict=False)]
    return found


# -- where -------------------------------------------------------------------------------------------------------


def nodes(source: RecordSource, run: RecordedRun) -> list[NodeLife]:
    """Managers and workers, in the order in which they came."""
    if not source.has("node"):
        return []
    when, heard = source.seconds("timestamp"), source.seconds("last_heartbeat")
    active = "active" if not source.has_column("node", "active") else "CAST(active AS INTEGER)"
    rows = source.rows(
        f"SELECT uid, MAX(hostname), MAX(block_id), MAX(worker_count), MAX(cpu_count), MAX(total_memory), "
        f"MAX(python_v), MIN({when}), MAX({heard}), MAX(CASE WHEN {active} = 0 THEN {when} END), "
        f"MAX(CASE WHEN {active} = 1 THEN {when} END) FROM node WHERE run_id = :run GROUP BY uid",
        {"run": run.run_id},
    )
    found = []
    for uid, host, block, workers, cpus, memory, python, came, last, gone, there in rows:
        ended = gone if gone is not None and (there is None or gone >= there) else None
        if ended is None and not run.live:
            ended = run.until
        found.append(NodeLife(uid, host, block, workers, cpus, memory, python, came, last, ended))
    return sorted(found, key=lambda node: (node.came, node.hostname, node.uid))


def workers_over_time(lives: Sequence[NodeLife], run: RecordedRun, bins: Bins) -> Series:
    """How many workers there were, on average over each bin."""
    return _over_time(lives, run, bins, lambda node: node.workers)


def cores_over_time(lives: Sequence[NodeLife], run: RecordedRun, bins: Bins) -> Series:
    return _over_time(lives, run, bins, lambda node: node.cpus)


def memory_over_time(lives: Sequence[NodeLife], run: RecordedRun, bins: Bins) -> Series:
    return _over_time(lives, run, bins, lambda node: node.memory_bytes)


def _over_time(lives: Sequence[NodeLife], run: RecordedRun, bins: Bins, much: Callable[[NodeLife], int]) -> Series:
    series = [0.0] * bins.number
    for node in lives:
        end = node.gone if node.gone is not None else run.until
        first = int((node.came - bins.start) / bins.width)
        last = int((end - bins.start) / bins.width)
        for index in range(max(first, 0), min(last, bins.number - 1) + 1):
            left = bins.start + index * bins.width
            share = min(end, left + bins.width) - max(node.came, left)
            series[index] += much(node) * max(share, 0.0) / bins.width
    return series


def block_states(source: RecordSource, run: RecordedRun) -> list[BlockState]:
    """Changes of the states of blocks, block by block."""
    if not source.has("block"):
        return []
    rows = source.rows(
        f"SELECT executor_label, block_id, COALESCE(job_id, ''), {source.seconds('timestamp')}, status FROM block "
        "WHERE run_id = :run ORDER BY executor_label, block_id, timestamp",
        {"run": run.run_id},
    )
    return [BlockState(str(label), str(block), str(job), at, str(state)) for label, block, job, at, state in rows]


# -- what it takes -----------------------------------------------------------------------------------------------


def sample_interval_s(source: RecordSource, run: RecordedRun) -> float | None:
    """The interval at which tasks were sampled; None: there are no samples."""
    if not source.has("resource"):
        return None
    row = source.one(
        "SELECT COUNT(*), MAX(resource_monitoring_interval) FROM resource WHERE run_id = :run", {"run": run.run_id}
    )
    return None if row is None or not row[0] else float(row[1] or 0.0)


def usage_over_time(source: RecordSource, run: RecordedRun, bins: Bins) -> tuple[Series, Series]:
    """Cores in use, and resident bytes, on average over each bin, of the tasks that were sampled."""
    when = source.seconds("r.timestamp")
    cpu = "COALESCE(r.psutil_process_time_user, 0) + COALESCE(r.psutil_process_time_system, 0)"
    window = "OVER (PARTITION BY r.try_id, r.task_id ORDER BY r.timestamp)"
    rows = source.rows(
        f"SELECT {source.whole('(at - :start) / :width')} AS bin, "
        "SUM(CASE WHEN cpu > was THEN cpu - was ELSE 0 END), "
        "SUM(memory * CASE WHEN at > before THEN at - before ELSE 0 END) "
        f"FROM (SELECT {when} AS at, {cpu} AS cpu, COALESCE(LAG({cpu}) {window}, 0) AS was, "
        f"COALESCE(LAG({when}) {window}, {source.seconds('y.task_try_time_running')}, {when}) AS before, "
        "COALESCE(r.psutil_process_memory_resident, 0) AS memory "
        'FROM resource r JOIN "try" y ON y.run_id = r.run_id AND y.task_id = r.task_id AND y.try_id = r.try_id '
        "WHERE r.run_id = :run) a GROUP BY 1",
        {"run": run.run_id, "start": bins.start, "width": bins.width},
    )
    cores, memory = [0.0] * bins.number, [0.0] * bins.number
    for index, seconds, byte_seconds in rows:
        place = min(max(int(index), 0), bins.number - 1)
        cores[place] += float(seconds) / bins.width
        memory[place] += float(byte_seconds) / bins.width
    return cores, memory
