"""The states of a task, with Parsl's names and numbers (they are written to monitoring databases)."""

from __future__ import annotations

from enum import IntEnum


class States(IntEnum):
    """State of a task, as told by ``AppFuture.task_status()`` and ``dfk.task_state_counts``."""

    unsched = -1  # known by name only; no task is ever in it
    pending = 0  # waits for what it depends on
    running = 2  # reported by monitoring: a worker has begun
    exec_done = 3
    failed = 4
    dep_fail = 5  # never ran, because something it depends on has failed
    launched = 7  # handed to an executor
    fail_retryable = 8  # an attempt has failed, another will be made
    memo_done = 9  # the result came from a memo or a checkpoint
    joining = 10  # the body of a join app has ended, the futures it gave have not
    running_ended = 11  # reported by monitoring: a worker has finished
    cancelled = 12  # Trellis only


FINAL_STATES = [States.exec_done, States.memo_done, States.failed, States.dep_fail, States.cancelled]

FINAL_FAILURE_STATES = [States.failed, States.dep_fail]
