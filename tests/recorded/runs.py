"""Writes a run as Parsl's releases record it: rows of the seven tables, made up with a seed.

``python -m tests.recorded.runs FILE TASKS`` makes one to look at.
"""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

SCHEMA = """\
CREATE TABLE IF NOT EXISTS workflow (run_id TEXT NOT NULL, workflow_name TEXT, workflow_version TEXT,
    time_began DATETIME NOT NULL, time_completed DATETIME, host TEXT NOT NULL, user TEXT NOT NULL, rundir TEXT NOT NULL,
    tasks_failed_count INTEGER NOT NULL, tasks_completed_count INTEGER NOT NULL, PRIMARY KEY (run_id));
CREATE TABLE IF NOT EXISTS task (task_id INTEGER NOT NULL, run_id TEXT NOT NULL, task_depends TEXT,
    task_func_name TEXT NOT NULL, task_memoize TEXT NOT NULL, task_hashsum TEXT, task_inputs TEXT, task_outputs TEXT,
    task_stdin TEXT, task_stdout TEXT, task_stderr TEXT, task_time_invoked DATETIME, task_time_returned DATETIME,
    task_fail_count INTEGER NOT NULL, task_fail_cost FLOAT NOT NULL, PRIMARY KEY (task_id, run_id));
CREATE TABLE IF NOT EXISTS try (try_id INTEGER NOT NULL, task_id INTEGER NOT NULL, run_id TEXT NOT NULL, block_id TEXT,
    hostname TEXT, task_executor TEXT NOT NULL, task_try_time_launched DATETIME, task_try_time_running DATETIME,
    task_try_time_returned DATETIME, task_fail_history TEXT, task_joins TEXT, PRIMARY KEY (try_id, task_id, run_id));
CREATE TABLE IF NOT EXISTS status (task_id INTEGER NOT NULL, task_status_name TEXT NOT NULL,
    timestamp DATETIME NOT NULL, run_id TEXT NOT NULL, try_id INTEGER NOT NULL,
    PRIMARY KEY (task_id, run_id, task_status_name, timestamp),
    FOREIGN KEY(run_id) REFERENCES workflow (run_id));
CREATE TABLE IF NOT EXISTS node (id INTEGER NOT NULL, run_id TEXT NOT NULL, hostname TEXT NOT NULL, uid TEXT NOT NULL,
    block_id TEXT NOT NULL, cpu_count INTEGER NOT NULL, total_memory BIGINT NOT NULL, active BOOLEAN NOT NULL,
    worker_count INTEGER NOT NULL, python_v TEXT NOT NULL, timestamp DATETIME NOT NULL,
    last_heartbeat DATETIME NOT NULL, PRIMARY KEY (id));
CREATE TABLE IF NOT EXISTS block (run_id TEXT NOT NULL, executor_label TEXT NOT NULL, block_id TEXT NOT NULL,
    job_id TEXT, timestamp DATETIME NOT NULL, status TEXT NOT NULL,
    PRIMARY KEY (run_id, block_id, executor_label, timestamp));
CREATE TABLE IF NOT EXISTS resource (try_id INTEGER NOT NULL, task_id INTEGER NOT NULL, run_id TEXT NOT NULL,
    timestamp DATETIME NOT NULL, resource_monitoring_interval FLOAT, psutil_process_pid INTEGER,
    psutil_process_memory_percent FLOAT, psutil_process_children_count FLOAT, psutil_process_time_user FLOAT,
    psutil_process_time_system FLOAT, psutil_process_memory_virtual FLOAT, psutil_process_memory_resident FLOAT,
    psutil_process_disk_read FLOAT, psutil_process_disk_write FLOAT, psutil_process_status TEXT, psutil_cpu_num TEXT,
    psutil_process_num_ctx_switches_voluntary FLOAT, psutil_process_num_ctx_switches_involuntary FLOAT,
    PRIMARY KEY (try_id, task_id, run_id, timestamp), FOREIGN KEY(run_id) REFERENCES workflow (run_id));
CREATE INDEX IF NOT EXISTS ix_task_task_hashsum ON task (task_hashsum);
"""
BEGAN = datetime(2026, 3, 14, 9, 26, 53)


@dataclass
class MadeUpRun:
    """A run of three apps: each ``simulate`` needs a ``prepare``, and each ``analyse`` ten of ``simulate``.

    Args:
        tasks: about how many.
        hosts: nodes, each a block of its own with ``workers`` workers.
        finished: whether it has ended; else the last tenth of what would have happened has not yet.
        samples: whether there are rows of ``resource``.
    """

    tasks: int = 200
    hosts: int = 3
    workers: int = 4
    finished: bool = True
    samples: bool = True
    run_id: str = "0f8b2c9a-0000-4000-8000-000000000001"
    name: str = "galaxies.py"
    rundir: str = "/scratch/runinfo/000"
    began: datetime = BEGAN
    seed: int = 1
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def write(self, path: Path) -> MadeUpRun:
        """Add this run to the database at ``path``."""
        self._make()
        with sqlite3.connect(path) as database:
            database.executescript(SCHEMA)
            for table, rows in self.rows.items():
                marks = ",".join("?" * len(rows[0])) if rows else ""
                if rows:
                    database.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows)
        database.close()
        return self

    def _make(self) -> None:
        chance = random.Random(self.seed)
        self.rows = {name: [] for name in ("workflow", "task", "try", "status", "node", "block", "resource")}
        free = [(2.0, host, worker) for host in range(self.hosts) for worker in range(self.workers)]
        done_at: dict[int, float | None] = {}
        plans = list(self._plan())
        ends = []
        for task_id, app, depends in plans:
            ends.append(self._run_task(task_id, app, depends, chance, free, done_at))
        end = max(ends)
        self._add_places(end)
        failed = sum(1 for row in self.rows["status"] if row[1] == "failed")
        done = sum(1 for row in self.rows["status"] if row[1] == "exec_done")
        completed = self._time(end + 1) if self.finished else None
        self.rows["workflow"].append(
            (self.run_id, self.name, "1", self._time(0), completed, "login1", "ada", self.rundir, failed, done)
        )
        if not self.finished:
            self._forget_after(self._time(end * 0.9))

    def _plan(self) -> Iterator[tuple[int, str, tuple[int, ...]]]:
        simulated: list[int] = []
        number = 0
        while number < self.tasks:
            yield number, "prepare", ()
            yield number + 1, "simulate", (number,)
            simulated.append(number + 1)
            number += 2
            if len(simulated) == 10:
                yield number, "analyse", tuple(simulated)
                simulated.clear()
                number += 1

    def _run_task(
        self,
        task_id: int,
        app: str,
        depends: tuple[int, ...],
        chance: random.Random,
        free: list[tuple[float, int, int]],
        done_at: dict[int, float | None],
    ) -> float:
        invoked = 0.1 + task_id * 0.0001
        self._status(task_id, "pending", invoked, 0)
        ready, text = invoked, ",".join(map(str, depends))
        behind = [done_at[one] for one in depends]
        if None in behind:
            at = max([invoked, *(one for one in behind if one is not None)])
            self._status(task_id, "dep_fail", at, 0)
            done_at[task_id] = None
            history = f"DependencyError('task {depends[behind.index(None)]} has failed')"
            self.rows["try"].append(
                (0, task_id, self.run_id, None, None, "htex", None, None, self._time(at), history, None)
            )
            self._task(task_id, app, text, invoked, at, 1)
            return at
        ready = max([invoked, *(one for one in behind if one is not None)])
        failures = 0
        for try_id in range(2):
            seconds = {"prepare": 0.5, "simulate": 4.0, "analyse": 1.5}[app] * chance.lognormvariate(0, 0.4)
            at, host, worker = free[0]
            start = max(at, ready) + 0.002
            heappop(free)
            heappush(free, (start + seconds, host, worker))
            end = start + seconds
            self._status(task_id, "launched", ready, try_id)
            self._status(task_id, "running", start, try_id)
            self._status(task_id, "running_ended", end, try_id)
            fault = self._fault(app, host, task_id, chance)
            times = (self._time(ready), self._time(start), self._time(end))
            self.rows["try"].append(
                (try_id, task_id, self.run_id, str(host), f"node{host:02d}", "htex", *times, fault, None)
            )
            if self.samples:
                self._sample(task_id, try_id, start, seconds, chance)
            if not fault:
                break
            failures += 1
            ready = end + 0.001
            self._status(task_id, "fail_retryable" if try_id == 0 else "failed", ready, try_id)
        else:
            done_at[task_id] = None
            self._task(task_id, app, text, invoked, ready, failures)
            return ready
        self._status(task_id, "exec_done", end + 0.001, try_id)
        done_at[task_id] = end
        self._task(task_id, app, text, invoked, end + 0.001, failures)
        return end

    @staticmethod
    def _fault(app: str, host: int, task_id: int, chance: random.Random) -> str:
        if app == "simulate" and task_id % 101 == 4:
            return f"ValueError('negative pressure in cell {task_id}')"
        if app == "simulate" and host == 1 and chance.random() < 0.08:
            return "OSError(28, 'No space left on device', '/local/scratch')"
        return ""

    def _sample(self, task_id: int, try_id: int, start: float, seconds: float, chance: random.Random) -> None:
        at, used = 1.0, chance.uniform(0.7, 1.0)
        while at < seconds:
            resident = 2e8 + 3e7 * at
            self.rows["resource"].append(
                (try_id, task_id, self.run_id, self._time(start + at), 1.0, 4000 + task_id % 999, 0.5, 0.0, used * at,
                 0.05 * at, resident * 2, resident, 1e6 * at, 5e5 * at, "running", "3", 10.0, 2.0)
            )  # fmt: skip
            at += 1.0

    def _add_places(self, end: float) -> None:
        for host in range(self.hosts):
            common = (self.run_id, f"node{host:02d}", f"manager{host}", str(host), 8, 16 * 2**30)
            seen = [(1.9, 1), (end / 2, 1)] + ([(end + 0.5, 0)] if self.finished else [])
            for at, active in seen:
                when = self._time(at)
                self.rows["node"].append((None, *common, active, self.workers, "3.12.1", when, when))
            states = [(0.1, "PENDING"), (1.8, "RUNNING")] + ([(end + 0.6, "SCALED_IN")] if self.finished else [])
            for at, state in states:
                self.rows["block"].append((self.run_id, "htex", str(host), str(4711 + host), self._time(at), state))
        self.rows["block"].append((self.run_id, "htex", str(self.hosts), "4799", self._time(0.2), "PENDING"))

    def _forget_after(self, now: str) -> None:
        """As the database is at that moment of the run."""
        self.rows["status"] = [row for row in self.rows["status"] if row[2] <= now]
        self.rows["resource"] = [row for row in self.rows["resource"] if row[3] <= now]
        self.rows["try"] = [
            (*row[:6], *(at if at is not None and at <= now else None for at in row[6:9]),
             row[9] if row[8] is not None and row[8] <= now else "", row[10])
            for row in self.rows["try"] if (row[6] or row[8]) <= now
        ]  # fmt: skip
        self.rows["task"] = [
            (*row[:12], row[12] if row[12] <= now else None, *row[13:]) for row in self.rows["task"] if row[11] <= now
        ]

    def _task(self, task_id: int, app: str, depends: str, invoked: float, returned: float, failures: int) -> None:
        times = (self._time(invoked), self._time(returned))
        where = f"{self.rundir}/task_logs/task_{task_id}.out" if app == "analyse" else ""
        self.rows["task"].append(
            (task_id, self.run_id, depends, app, "0", None, "None", "None", None, where, "", *times, failures, failures)
        )

    def _status(self, task_id: int, name: str, at: float, try_id: int) -> None:
        self.rows["status"].append((task_id, name, self._time(at), self.run_id, try_id))

    def _time(self, seconds: float) -> str:
        return str(self.began + timedelta(seconds=seconds, microseconds=1))[:26]


def main() -> None:
    file, tasks = Path(sys.argv[1]), int(sys.argv[2])
    MadeUpRun(tasks=tasks, hosts=16, workers=16, samples=tasks < 20_000).write(file)


if __name__ == "__main__":
    main()
