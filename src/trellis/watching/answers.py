"""Answers what the socket of a run is asked."""

from __future__ import annotations

from typing import Any, assert_never

from trellis.core.users_errors import describe
from trellis.dataflow.final_tasks import IS_FINAL
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import ParameterValueError, TrellisError
from trellis.watching import questions
from trellis.watching.explain import explain
from trellis.watching.facts import facts
from trellis.watching.pace import Pace
from trellis.watching.questions import Answer, Question
from trellis.watching.snapshot import Cancellation, as_json
from trellis.watching.status import take_status
from trellis.watching.tasks import find_record, list_tasks
from trellis.watching.view import WatchedKernel


def answer(kernel: WatchedKernel, pace: Pace, question: Question) -> Answer:
    """The answer to a question; never raises."""
    try:
        return Answer(ok=as_json(_answer(kernel, pace, question)))
    except TrellisError as error:
        return Answer(error=str(error))
    except Exception as error:
        return Answer(error=f"the run cannot answer: {describe(error)}")


def _answer(kernel: WatchedKernel, pace: Pace, question: Question) -> Any:
    match question:
        case questions.AskFacts():
            return facts(kernel)
        case questions.AskStatus(timeout_s):
            return take_status(kernel, pace, timeout_s)
        case questions.AskTasks(states, apps, failed, limit):
            return list_tasks(kernel, states=states, apps=apps, failed=failed, limit=limit)
        case questions.AskExplain(task, timeout_s):
            return explain(kernel, find_record(kernel, task), timeout_s)
        case questions.AskCancel(tasks, apps):
            return cancel(kernel, tasks, apps)
        case _:
            assert_never(question)


def cancel(kernel: WatchedKernel, tasks: list[int], apps: list[str]) -> Cancellation:
    """Cancel tasks, and those of whole apps; the last ones first, so that none fails because another was cancelled.

    Raises:
        ParameterValueError: no app of this name was called.
    """
    records = list(kernel.tasks.values())
    known = {record.func_name for record in records} | set(kernel.final_tasks.by_app)
    for app in apps:
        if app not in known:
            names = ", ".join(sorted(known)) or "none yet"
            raise ParameterValueError(f"no app {app} was called; apps that were: {names}")
    wanted = {record.id: record for record in records if record.func_name in apps and record.status not in IS_FINAL}
    final, unknown = [], []
    for task_id in dict.fromkeys(tasks):
        record = kernel.tasks.get(task_id)
        if record is not None and record.status not in IS_FINAL:
            wanted[task_id] = record
        elif 0 <= task_id < kernel.task_count:
            final.append(task_id)
        else:
            unknown.append(task_id)
    cancelled, running = [], []
    for task_id, record in sorted(wanted.items(), reverse=True):
        if _cancel(record):
            cancelled.append(task_id)
        elif record.status in IS_FINAL:
            final.append(task_id)
        else:
            running.append(task_id)
    return Cancellation(sorted(cancelled), sorted(running), sorted(final), unknown)


def _cancel(record: TaskRecord) -> bool:
    future = record.app_fu
    return future is not None and future.cancel()
