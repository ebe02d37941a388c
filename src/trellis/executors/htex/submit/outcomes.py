"""Reports about tasks, turned into the outcomes of their attempts."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError

from msgspec.structs import astuple

from trellis.core.interfaces import Attempt, Outcome, RunInfo
from trellis.core.measurements import Usage
from trellis.errors import (
    AppTimeout,
    DeserializationError,
    ExecutorError,
    InternalConsistencyError,
    InvalidResourceSpecification,
    ManagerLost,
    MemoryLimitExceeded,
    TrellisError,
    WorkerLost,
)
from trellis.executors.common.outcomes import outcome_of
from trellis.transport.shared_files import is_reference, read
from trellis.wire.codec import Payload
from trellis.wire.measures import TaskUse
from trellis.wire.messages import (
    ManagerLoss,
    Results,
    TasksCancelled,
    TasksOverMemory,
    TasksRefused,
    TasksTimedOut,
    TasksUnfit,
    WorkerLoss,
)

logger = logging.getLogger(__name__)


def outcomes_of(
    message: Results,
    payloads: Sequence[Payload],
    positions: Iterable[int],
    where: tuple[str, str],
    directory: str | None,
) -> list[Outcome]:
    """The outcomes at these positions.

    Args:
        message: the report.
        payloads: all that it carries.
        positions: places in the report of the tasks that count.
        where: hostname and block of the manager.
        directory: where large results are files; None: nowhere.
    """
    failed = set(message.failed)
    used = message.used
    outcomes = []
    for position in positions:
        payload = payloads[position]
        run_info = RunInfo(
            *where,
            message.manager,
            message.workers[position],
            message.started[position],
            message.durations_s[position],
            None if used is None else _usage(used[position]),
        )
        try:
            if directory is not None and is_reference(payload):
                payload = read(payload, directory, delete=True)
        except Exception as error:  # whatever is wrong with it: the others of this report have nothing to do with it
            logger.error("a result is lost: %s", error)
            lost = DeserializationError(f"the result is lost: {type(error).__name__}: {error}")
            outcomes.append(Outcome(None, lost, run_info))
            continue
        outcomes.append(outcome_of(payload, position in failed, run_info))
    return outcomes


def _usage(used: TaskUse | None) -> Usage | None:
    return None if used is None else Usage._make(astuple(used))


def failure(cause: object, attempt: Attempt, label: str) -> BaseException:
    """The exception of one task, from what was reported of several; each task gets one of its own."""
    match cause:
        case ManagerLoss():
            return ManagerLost(cause.manager, cause.hostname, f"{cause.reason}; task {attempt.name} was there")
        case WorkerLoss():
            text = f"{cause.reason}; it was running {attempt.name}{_advice(cause.reason)}"
            return WorkerLost(cause.worker, cause.hostname, text)
        case TasksTimedOut():
            return AppTimeout(f"{attempt.name} ran for longer than its walltime of {attempt.walltime_s:g} s")
        case TasksOverMemory():
            position = cause.ids.index(attempt.executor_id)
            return MemoryLimitExceeded(attempt.name, cause.limits_mb[position], cause.peaks_mb[position])
        case TasksUnfit():
            text = f"{attempt.name} fits nowhere: {cause.reason}; ask for less, or for larger nodes in the provider"
            return InvalidResourceSpecification(attempt.resources or {}, text)
        case TasksRefused():
            return ExecutorError(label, f"{attempt.name} was refused: {cause.reason}")
        case TasksCancelled():
            return CancelledError(f"{attempt.name} was cancelled")
        case TrellisError():
            return cause
    return InternalConsistencyError(f"executor {label} cannot tell why {attempt.name} failed: {cause!r}")


def _advice(reason: str) -> str:
    """What to try when a worker has ended in this way."""
    if "memory limit" in reason or "lack of memory" in reason or "out of memory" in reason:
        return ": have fewer workers on a node (max_workers_per_node, mem_per_worker), or give a task less to do"
    if re.search(r"SIG(SEGV|BUS|ILL|FPE|ABRT)", reason):
        return ": a crash in native code; 'export PYTHONFAULTHANDLER=1' in worker_init has it say where"
    if "exit code" in reason:
        return ": does it call os._exit(), or replace its process with os.exec…()?"
    return ""
