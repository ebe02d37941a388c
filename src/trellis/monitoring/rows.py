"""Turns what happened in a run into rows of its tables. Pure: knows no database, file or clock.

What is known of a task is kept until the task is final; a row that has changed is written again as a whole. So a
recorder that was killed begins again with the rows of the tasks that are open (``Rows.take_up``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from trellis.dataflow.notes import BEGUN, CHANGED, DONE, ENDED, LAUNCHED, SUBMITTED
from trellis.dataflow.states import States
from trellis.monitoring.messages import BLOCK, DROPPED, FILE, NODE, RUN_BEGAN, RUN_ENDED, SAMPLE, Entry, RunBegan

Row = tuple[Any, ...]
# Seconds since the epoch to what a database takes for a local time.
Stamp = Callable[[float], Any]

_FINAL = frozenset({States.exec_done, States.memo_done, States.failed, States.dep_fail, States.cancelled})
_NAMES = {int(state): state.name for state in States}


class RowBatch(NamedTuple):
    """Rows to be written in one transaction, in the order of the tables' columns.

    ``replaced``: rows that are new or have changed. ``added``: rows that are new. By the names of their tables.
    """

    replaced: dict[str, list[Row]]
    added: dict[str, list[Row]]

    @property
    def size(self) -> int:
        return sum(map(len, self.replaced.values())) + sum(map(len, self.added.values()))


class _Task:
    """A task that is not final: its rows, as far as they are known."""

    __slots__ = ("app", "attempt", "before", "number", "own", "running", "task", "tries", "try_")

    def __init__(self, number: int, app: str) -> None:
        self.number = number
        self.app = app
        self.tries = 0  # attempts launched
        self.running = False  # "running" has been said of the last attempt
        self.before: float | None = None  # when the attempt before it started
        self.task: list[Any] = []
        self.try_: list[Any] = []
        self.own: list[Any] = []
        self.attempt: list[Any] | None = None


# Places in rows.
_DEPENDS, _HASHSUM, _INPUTS, _OUTPUTS, _STDIN, _STDOUT, _STDERR = 2, 5, 6, 7, 8, 9, 10
_TASK_RETURNED, _FAIL_COUNT, _FAIL_COST = 12, 13, 14
_TRY_BLOCK, _TRY_HOST, _TRY_EXECUTOR, _LAUNCHED, _RUNNING, _RETURNED, _HISTORY, _JOINS = 3, 4, 5, 6, 7, 8, 9, 10
_OWN_STATE, _OWN_RETURNED, _OWN_TRIES = 3, 7, 8
_HOST, _STARTED, _DURATION, _ATTEMPT_RETURNED, _EXCEPTION, _USAGE = 5, 10, 11, 12, 13, 14


class Rows:
    """The rows of one run.

    Args:
        run: its short number.
        stamp: makes local times.
    """

    def __init__(self, run: int, stamp: Stamp) -> None:
        self._run = run
        self._stamp = stamp
        self._run_id = ""
        self._workflow: list[Any] = []
        self._about: RunBegan | None = None
        self._open: dict[int, _Task] = {}
        self._changed: dict[int, _Task] = {}  # whose rows are to be written
        self._old_tries: list[Row] = []  # of attempts that are not the last of their tasks
        self._old_attempts: list[Row] = []
        self._nodes: dict[tuple[str, str], Row] = {}
        self._added: dict[str, list[Row]] = {}
        self.state = "running"
        self.until = 0.0
        self.submitted = 0
        self.dropped_samples = 0
        self.dropped_events = 0

    # -- to and from the database ------------------------------------------------------------------------------

    def take_up(
        self,
        workflow: Sequence[Any],
        own_run: Sequence[Any],
        tasks: Iterable[tuple[Sequence[Any], Sequence[Any], Sequence[Any], Sequence[Any] | None]],
    ) -> None:
        """Go on where another has stopped: rows of the run, and of each open task (task, last try, own, attempt)."""
        self._workflow = list(workflow)
        self._run_id = self._workflow[0]
        self.state, self.until, self.submitted = own_run[2], own_run[3], own_run[4]
        self.dropped_samples, self.dropped_events = own_run[5], own_run[6]
        self._about = RunBegan(self._run_id, "", "", 0.0, own_run[9], "", "", own_run[8], own_run[10], own_run[11])
        for row, try_, own, attempt in tasks:
            task = _Task(row[0], row[3])
            task.task, task.try_, task.own = list(row), list(try_), list(own)
            task.attempt = None if attempt is None else list(attempt)
            task.tries = own[_OWN_TRIES]
            task.running = try_[_RUNNING] is not None
            self._open[task.number] = task

    def take(self, read_until: int) -> RowBatch:
        """What is to be written since the last time; ``read_until``: of the journal, which these rows are from."""
        changed, self._changed = self._changed, {}
        tries, self._old_tries = self._old_tries, []
        attempts, self._old_attempts = self._old_attempts, []
        added, self._added = self._added, {}
        nodes, self._nodes = self._nodes, {}
        attempts += [tuple(task.attempt) for task in changed.values() if task.attempt is not None]
        replaced: dict[str, list[Row]] = {
            "task": [tuple(task.task) for task in changed.values()],
            "try": tries + [tuple(task.try_) for task in changed.values()],
            "trellis_task": [tuple(task.own) for task in changed.values()],
            "trellis_attempt": attempts,
            "trellis_node": list(nodes.values()),
        }
        if self._about is not None:
            about = self._about
            own: Row = (
                *(self._run, self._run_id, self.state, self.until, self.submitted),
                *(self.dropped_samples, self.dropped_events, read_until),
                *(about.pid, about.host, about.trellis_version, about.python_version),
            )
            replaced = {"workflow": [tuple(self._workflow)], "trellis_run": [own], **replaced}
        return RowBatch({name: rows for name, rows in replaced.items() if rows}, added)

    @property
    def pending(self) -> int:
        """About how many rows are to be written."""
        return 4 * len(self._changed) + len(self._nodes) + sum(map(len, self._added.values()))

    def end_lost(self, at: float | None = None) -> None:
        """The program is gone and has not said goodbye. None: when is not known, so it was with what is known last."""
        if self.state == "running" and self._workflow:
            self.state = "lost"
            self.until = self.until if at is None else at
            self._workflow[4] = self._stamp(self.until)

    # -- what has happened -------------------------------------------------------------------------------------

    def handle(self, entry: Entry) -> None:
        kind = entry[0]
        if kind == DONE:
            self._done(entry)
        elif kind == SUBMITTED:
            self._submitted(entry)
        elif kind == LAUNCHED:
            self._launched(entry)
        elif kind == CHANGED:
            self._changed_state(entry)
        elif kind == ENDED:
            self._ended(entry[1], entry[2], entry[3])
        elif kind == BEGUN:
            _, number, _, host, block, manager, worker, started = entry
            self._begun(number, host, block, manager, worker, started)
        elif kind == SAMPLE:
            self._sample(entry)
        else:
            self._rare(entry)

    def _rare(self, entry: Entry) -> None:
        kind = entry[0]
        if kind == NODE:
            self._node(*entry[1:])
        elif kind == BLOCK:
            self._block(*entry[1:])
        elif kind == FILE:
            self._add("trellis_file", (self._run, *entry[1:]))
        elif kind == DROPPED:
            self.dropped_samples, self.dropped_events = entry[1], entry[2]
        elif kind == RUN_BEGAN:
            self._began(RunBegan(*entry[1]))
        elif kind == RUN_ENDED:
            self.state, self.until = "ended", entry[1]
            self._workflow[4] = self._stamp(entry[1])

    def _began(self, about: RunBegan) -> None:
        self._about = about
        self._run_id = about.run_id
        self.until = about.time_began
        began = self._stamp(about.time_began)
        names = (about.run_id, about.workflow_name, about.workflow_version)
        self._workflow = [*names, began, None, about.host, about.user, about.rundir, 0, 0]

    def _add(self, table: str, row: Row) -> None:
        rows = self._added.get(table)
        if rows is None:
            rows = self._added[table] = []
        rows.append(row)

    def _status(self, number: int, state: str, at: Any, try_id: int) -> None:
        self._add("status", (number, state, at, self._run_id, try_id))

    def _submitted(self, entry: Entry) -> None:
        _, number, at, app, executor, memoize, call = entry
        stamp = self._stamp(at)
        self.submitted += 1
        self.until = at
        task = self._open[number] = _Task(number, app)
        given: dict[str, Any] = call if isinstance(call, dict) else {}
        depends = given.get("depends", ())
        run_id = self._run_id
        inputs, outputs = given.get("inputs", "None"), given.get("outputs", "None")
        streams = (given.get("stdin"), given.get("stdout", ""), given.get("stderr", ""))
        task.task = [
            *(number, run_id, ",".join(map(str, depends)), app, "1" if memoize else "0", None),
            *(inputs, outputs, *streams, stamp, None, 0, 0.0),
        ]
        task.try_ = [0, number, run_id, None, None, executor, None, None, None, "", None]
        arguments = given.get("arguments")
        if arguments is None and type(call) is list:
            arguments = ", ".join(map(repr, call))
        resources = json.dumps(given["resources"]) if "resources" in given else None
        task.own = [self._run, number, app, "pending", arguments, resources, at, None, 0]
        self._changed[number] = task
        self._status(number, "pending", stamp, 0)
        for needed in depends:
            self._add("trellis_dependency", (self._run, number, needed))

    def _launched(self, entry: Entry) -> None:
        _, number, at, executor, more = entry
        task = self._open.get(number)
        if task is None:
            return
        self.until = at
        stamp = self._stamp(at)
        if more is not None:
            self._know_more(task, more)
        try_ = task.try_
        if try_[_LAUNCHED] is not None:  # another attempt, of which no failure was told
            self._next_try(task)
            try_ = task.try_
        try_[_TRY_EXECUTOR] = executor
        try_[_LAUNCHED] = stamp
        task.tries += 1
        task.running = False
        task.attempt = [self._run, number, try_[0], task.app, executor, *_NO_PLACE, at, *_NO_END]
        self._now(task, "launched", stamp)
        task.own[_OWN_TRIES] = task.tries

    def _next_try(self, task: _Task) -> None:
        """The last attempt is over, and there is to be another."""
        old = task.try_
        self._old_tries.append(tuple(old))
        if task.attempt is not None:
            self._old_attempts.append(tuple(task.attempt))
            task.before = task.attempt[_STARTED]
            task.attempt = None
        task.try_ = [old[0] + 1, task.number, self._run_id, None, None, old[_TRY_EXECUTOR], None, None, None, "", None]
        task.running = False

    def _now(self, task: _Task, state: str, stamp: Any) -> None:
        task.own[_OWN_STATE] = state
        self._changed[task.number] = task
        self._status(task.number, state, stamp, task.try_[0])

    def _begun(self, number: int, host: str, block: str, manager: str, worker: int, started: float) -> None:
        task = self._open.get(number)
        if task is None or task.running:
            return
        task.running = True
        stamp = self._stamp(started)
        self._placed(task, host, block, manager, worker, started, stamp)
        self._now(task, "running", stamp)

    def _placed(
        self, task: _Task, host: str, block: str, manager: str, worker: int, started: float, stamp: Any
    ) -> None:
        try_ = task.try_
        try_[_TRY_BLOCK], try_[_TRY_HOST], try_[_RUNNING] = block or None, host, stamp
        if task.attempt is not None:
            task.attempt[_HOST : _HOST + 4] = [host, block or None, manager, worker]
            task.attempt[_STARTED] = started

    def _ended(self, number: int, at: float, info: Sequence[Any] | None, exception: str | None = None) -> _Task | None:
        """An attempt has ended, wherever it ran."""
        task = self._open.get(number)
        if task is None:
            return None
        self.until = at
        self._changed[number] = task
        if task.try_[_RETURNED] is not None:  # that was told before
            return task
        task.try_[_RETURNED] = self._stamp(at)
        attempt = task.attempt
        if info is not None:
            host, block, manager, worker, started, duration = info[:6]
            stamp = self._stamp(started)
            self._placed(task, host, block, manager, worker, started, stamp)
            try_id = task.try_[0]
            if not task.running:
                self._status(number, "running", stamp, try_id)
            self._status(number, "running_ended", self._stamp(started + duration), try_id)
            if attempt is not None:
                attempt[_DURATION] = duration
                if info[6] is not None:
                    attempt[_USAGE:] = info[6]
        if attempt is not None:
            attempt[_ATTEMPT_RETURNED] = at
            attempt[_EXCEPTION] = exception
        return task

    def _done(self, entry: Entry) -> None:
        _, number, at, info = entry
        task = self._ended(number, at, info)
        if task is not None:
            self._final(task, States.exec_done, at)

    def _final(self, task: _Task, state: int, at: float) -> None:
        stamp = self._stamp(at)
        task.task[_TASK_RETURNED] = stamp
        task.own[_OWN_RETURNED] = at
        self._now(task, _NAMES[state], stamp)
        del self._open[task.number]
        if state == States.exec_done:
            self._workflow[9] += 1
        elif state == States.failed:
            self._workflow[8] += 1

    def _changed_state(self, entry: Entry) -> None:
        _, number, at, state, change = entry
        change = change or {}
        failure = change.get("failure")
        exception = failure["exception"] if failure is not None else None
        task = self._open.get(number)
        if task is None:
            return
        if failure is not None and state != States.cancelled:
            self._failed(task, at, failure)
        self._know_more(task, change)
        if state == States.joining:
            task.try_[_JOINS] = ",".join(map(str, change.get("joins", ())))
            self._now(task, "joining", self._stamp(at))
            return
        info = change.get("run_info")
        if info is not None and info[4] == task.before:  # this attempt has not run: it is what is known of the last
            info = None
        self._ended(number, at, info, exception)
        if state == States.fail_retryable:
            self._now(task, "fail_retryable", self._stamp(at))
            self._next_try(task)
            self._now(task, "pending", self._stamp(at))
            return
        if state == States.memo_done and task.try_[_LAUNCHED] is None:
            task.try_[_LAUNCHED] = task.try_[_RETURNED]
        if state in _FINAL:
            self._final(task, state, at)
        else:
            self._now(task, _NAMES.get(state, str(state)), self._stamp(at))

    def _failed(self, task: _Task, at: float, failure: dict[str, Any]) -> None:
        task.try_[_HISTORY] = failure["history"]
        task.task[_FAIL_COUNT], task.task[_FAIL_COST] = failure["count"], failure["cost"]
        what = (failure["fingerprint"], failure["exception"], failure["message"], failure["traceback"] or None)
        row = (self._run, task.number, task.try_[0], at, task.app, *what, failure["final"])
        self._add("trellis_failure", row)

    def _know_more(self, task: _Task, more: dict[str, Any]) -> None:
        if more.get("hashsum") is not None:
            task.task[_HASHSUM] = more["hashsum"]
        if "inputs" in more:
            task.task[_INPUTS] = more["inputs"]

    # -- what was measured -------------------------------------------------------------------------------------

    def _sample(self, entry: Entry) -> None:
        _, number, try_id, interval, at, pid, memory, children, user, system, virtual, resident, *rest = entry
        read, written, status, cpu, voluntary, involuntary = rest
        process = (pid, memory, float(children), user, system, float(virtual), float(resident))
        more = (float(read), float(written), status, cpu, float(voluntary), float(involuntary))
        self._add("resource", (try_id, number, self._run_id, self._stamp(at), interval or None, *process, *more))

    def _node(
        self,
        executor: str,
        manager: str,
        host: str,
        block: str,
        cpus: int,
        memory: int,
        active: bool,
        workers: int,
        python: str,
        started: float,
        heard: float,
    ) -> None:
        parsls = (self._run_id, host, manager, block, cpus, memory, active, workers, python)
        # Parsl's two times: of the message, and of the last heartbeat.
        self._add("node", (*parsls, self._stamp(max(heard, started)), self._stamp(heard)))
        own = (self._run, executor, manager, host, block, cpus, memory, workers, python, started, heard, active)
        self._nodes[executor, manager] = own

    def _block(self, executor: str, block: str, job: str | None, state: str, at: float, reason: str) -> None:
        self._add("block", (self._run_id, executor, block, job, self._stamp(at), state))
        self._add("trellis_block", (self._run, executor, block, at, state, job, reason))


_NO_PLACE = (None, None, None, None)
_NO_END = (None, None, None, None, None, None, None, None, None)
