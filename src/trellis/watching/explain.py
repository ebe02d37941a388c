"""Why a task is where it is: what it waits for and what that waits for, and what its executor says. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from trellis.core.reports import Standing
from trellis.core.users_errors import describe as describe_error
from trellis.core.values import shown
from trellis.dataflow.arguments import describe, tasks_behind
from trellis.dataflow.final_tasks import IS_FINAL
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.futures import AppFuture
from trellis.watching.amounts import ago, count, duration
from trellis.watching.snapshot import Explanation, Wait
from trellis.watching.tasks import open_futures, snapshot
from trellis.watching.view import WatchedKernel

# Of what a task waits for: more is counted, and not listed.
_LISTED = 30
_LISTED_OF_EACH = 8
_DEPTH = 50
# Executors that are asked about tasks at the bottom: each question may take as long as the executor is silent.
_ASKED = 3


def explain(kernel: WatchedKernel, record: TaskRecord, timeout_s: float = 1.0) -> Explanation:
    """Tell why a task is where it is; executors are given up after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    standing = _ask(kernel, record, deadline)
    tree = _Tree(kernel, deadline)
    tree.add(record)
    return Explanation(
        task=snapshot(record),
        text=f"{record.describe()} {_doing(kernel, record, standing)}{tree.bottom(record)}",
        waits=tuple(tree.waits),
        more_waits=tree.more,
        standing=standing,
        notes=tuple(_notes(kernel, record)),
    )


def tell(kernel: WatchedKernel, record: TaskRecord) -> str:
    """What a task is doing, in a few words, without asking anybody: for ``repr`` of its future."""
    return _doing(kernel, record, None)


def _ask(kernel: WatchedKernel, record: TaskRecord, deadline: float) -> Standing | None:
    attempt = record.attempt
    executor = kernel.running_executors.get(getattr(record, "executor", ""))
    if attempt is None or executor is None or record.status not in (States.launched, States.running):
        return None
    try:
        return executor.standing(attempt, max(0.1, deadline - time.monotonic()))
    except Exception as error:
        return Standing("unknown", f"executor {executor.label} cannot tell: {describe_error(error)}")


# -- one task, in words ----------------------------------------------------------------------------------------


def _doing(kernel: WatchedKernel, record: TaskRecord, standing: Standing | None) -> str:
    state = record.status
    if state is States.pending:
        return _pending(kernel, record)
    if state is States.joining:
        return f"has run its body, and waits for {_names(open_futures(record), 'what it gave')}"
    if state in (States.launched, States.running):
        return _at_executor(record, standing)
    if state is States.fail_retryable:
        return f"has failed {count(record.fail_count, 'time')} and is about to be tried again"
    return _ended(record)


def _pending(kernel: WatchedKernel, record: TaskRecord) -> str:
    waits = open_futures(record)
    if waits:
        return f"waits for {_names(waits, 'something')}"
    twin = _twin(kernel, record)
    if twin is not None:
        return f"waits for {twin.describe()}, which is the same call: its result will be a memo for this one"
    return "is about to be handed to an executor"


def _twin(kernel: WatchedKernel, record: TaskRecord) -> TaskRecord | None:
    """The task that makes the same call, whose result this one waits for."""
    if not record.memoize or record.hashsum is None:
        return None
    for other in list(kernel.tasks.values()):
        if other.hashsum == record.hashsum and other is not record and other.attempt is not None:
            return other
    return None


def _at_executor(record: TaskRecord, standing: Standing | None) -> str:
    tried = f", attempt {record.try_id + 1}" if record.try_id else ""
    begun = record.begun if record.status is States.running else None
    if standing is not None and standing.stage != "unknown":  # it may wait again: its worker has died
        begun = standing.begun or (begun if standing.stage == "running" else None)
    if begun is not None:
        place = f"{begun.hostname}, {begun.manager_id}" if begun.manager_id else begun.hostname
        return f"runs on {place}, for {ago(begun.started_at)}{tried}"
    launched = record.try_time_launched
    since = f" for {ago(launched.timestamp())}" if launched is not None else ""
    if standing is not None:
        return f"is at executor {record.executor}{since}{tried}: {standing.text}"
    return f"is at executor {record.executor}{since}{tried}"


def _ended(record: TaskRecord) -> str:
    info = record.run_info
    where = f" on {info.hostname}, in {duration(info.duration_s)}" if info is not None else ""
    if record.status is States.exec_done:
        return f"has succeeded{where}"
    if record.status is States.memo_done:
        return "has succeeded: its result came from a memo or a checkpoint"
    if record.status is States.cancelled:
        return "was cancelled"
    cause = record.failure or "no reason is known"
    if record.status is States.dep_fail:
        return f"has not run: {cause}"
    attempts = f", {count(record.fail_count, 'attempt')}" if record.fail_count > 1 else ""
    return f"has failed{where}{attempts}: {cause}"


def _names(futures: list[Future[Any]], nothing: str) -> str:
    if not futures:
        return nothing
    more = f" and {len(futures) - 1:,} more" if len(futures) > 1 else ""
    return f"{_name(futures[0])}{more}"


def _name(future: Future[Any]) -> str:
    return describe(future) or f"a future from elsewhere, {shown(future)}"


def _notes(kernel: WatchedKernel, record: TaskRecord) -> Iterator[str]:
    history = list(record.fail_history)
    if record.status not in IS_FINAL and history:
        retries = getattr(kernel.config, "retries", 0)
        yield f"earlier attempts have failed ({record.fail_cost:g} of {retries:g} retries used):"
        for number, text in enumerate(history[-3:], start=max(1, len(history) - 2)):
            yield f"  attempt {number}: {text}"


# -- what it waits for -----------------------------------------------------------------------------------------


@dataclass
class _Tree:
    """What a task waits for, what that waits for, and so on: each task once, depth first, without recursion."""

    kernel: WatchedKernel
    deadline: float
    waits: list[Wait] = field(default_factory=list)
    more: int = 0
    asked: int = 0
    leaves: list[TaskRecord] = field(default_factory=list)  # tasks that wait for no other: for them all wait

    def add(self, root: TaskRecord) -> None:
        seen = {root.id}
        todo = self._below(root, 1)
        while todo:
            future, depth = todo.pop()
            below = tasks_behind((future,), self.kernel)
            if not below:
                self._list(Wait(_foreign(future), depth))
                continue
            record = self.kernel.tasks.get(below[0])
            if record is None or record.id in seen:
                continue
            seen.add(record.id)
            further = self._below(record, depth + 1) if depth < _DEPTH else []
            self._list(self._wait_for(future, record, depth, leaf=not further))
            todo.extend(further)

    def _below(self, record: TaskRecord, depth: int) -> list[tuple[Future[Any], int]]:
        futures = open_futures(record)
        self.more += max(0, len(futures) - _LISTED_OF_EACH)
        return [(future, depth) for future in reversed(futures[:_LISTED_OF_EACH])]

    def _wait_for(self, future: Future[Any], record: TaskRecord, depth: int, *, leaf: bool) -> Wait:
        standing = None
        if leaf:
            self.leaves.append(record)
            if self.asked < _ASKED and len(self.waits) < _LISTED:
                self.asked += 1
                standing = _ask(self.kernel, record, self.deadline)
        name = record.describe()
        if (made := describe(future)) is not None and made != name:
            name = f"{made}, made by {name},"
        return Wait(f"{name} {_doing(self.kernel, record, standing)}", depth, record.id, record.status.name, standing)

    def _list(self, wait: Wait) -> None:
        if len(self.waits) < _LISTED:
            self.waits.append(wait)
        else:
            self.more += 1

    def bottom(self, root: TaskRecord) -> str:
        """What all of this waits for in the end, where that is not what it waits for directly."""
        direct = tasks_behind(open_futures(root), self.kernel)
        deep = [leaf for leaf in self.leaves if leaf.id not in direct]
        if not deep:
            return ""
        more = f" and {len(deep) - 1:,} more" if len(deep) > 1 else ""
        return f"; in the end for {deep[0].describe()}{more}, which {_doing(self.kernel, deep[0], None)}"


def _foreign(future: Future[Any]) -> str:
    if isinstance(future, AppFuture):
        return f"{_name(future)} of another run, {future.task_record.dfk.run_dir}"
    return f"{_name(future)}: nothing is known of who completes it"
