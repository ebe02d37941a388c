"""The table of failures: what happens, who notices, and within which time. Each row has a test in this folder."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    what_happens: str
    noticed_by: str
    within: str  # for readers; tests bound their waits, but assert no times
    outcome: str


ROWS: dict[str, Row] = {
    "worker-crash": Row("a worker crashes (SIGSEGV)", "manager", "100 ms", "WorkerLost; a new worker"),
    "worker-exit": Row("a task calls os._exit", "manager", "100 ms", "WorkerLost; a new worker"),
    "worker-kill": Row("a worker is killed", "manager", "100 ms", "WorkerLost; a new worker"),
    "worker-memory": Row("a worker is killed for its memory", "manager", "100 ms", "WorkerLost with peak memory"),
    "manager-kill": Row("a manager is killed", "interchange", "1 s", "started: ManagerLost; others run elsewhere"),
    "manager-term": Row("a manager gets SIGTERM", "manager", "at once", "unstarted tasks go back; it ends"),
    "manager-silent": Row(
        "a manager is stopped (SIGSTOP)", "interchange", "threshold", "as if killed; it is dismissed"
    ),
    "interchange-silent": Row("the interchange is stopped", "submit side", "period + threshold", "it is replaced"),
    "interchange-kill": Row("the interchange is killed", "submit side", "1 s", "it is replaced; nothing is lost"),
    "interchange-deaths": Row("it is killed again and again", "submit side", "1 s each", "InterchangeLost"),
    "blocks-fail": Row("no block can work", "block controller", "one poll", "BadStateException with stderr"),
    "blocks-silent": Row("workers never come up", "block controller", "10 s", "a warning with the job's stderr"),
    "bad-result": Row("a result that cannot be deserialized", "submit side", "at once", "DeserializationError"),
    "batch-silent": Row("the batch system does not answer", "provider", "one poll", "unknown; nothing is resubmitted"),
    "program-ctrl-c": Row("Ctrl-C", "the program", "seconds", "no process is left"),
    "program-term": Row("the program gets SIGTERM", "interchange", "seconds", "no process is left"),
    "program-raises": Row("an exception leaves the with", "the program", "seconds", "no process is left"),
    "program-ends": Row("the program ends without cleaning up", "the program", "seconds", "no process is left"),
    "program-exits": Row("the program calls os._exit", "interchange", "seconds", "no process is left"),
    "program-kill": Row("the program is killed", "interchange", "seconds", "no process is left"),
    "both-killed": Row("program and interchange are killed", "managers", "threshold", "no process is left"),
}
