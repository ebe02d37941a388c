"""What a run says of itself when it is asked: plain values, for people and as JSON. Nobody keeps them.

Times are seconds since the epoch. ``as_json`` makes of each what ``trellis status --json`` and its kind print, and what
the socket of a run sends: fields may be added to these, none goes or changes its meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trellis.core.reports import ExecutorReport, Hindrance, Standing
from trellis.core.users_errors import encodable

# How a run is, as far as can be told from here. "elsewhere": on another host, so that nothing more can be said;
# "silent": its process is there and does not answer; "killed": its process has gone without a word; "private": it is of
# another user, whom alone it answers.
RunState = Literal["live", "ending", "ended", "killed", "suspended", "silent", "elsewhere", "private"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Which run this is; the part of a run that does not change while it goes on."""

    run_id: str
    run_dir: str
    program: str
    pid: int
    host: str
    user: str
    version: str  # of Trellis
    python: str
    started_at: float
    project: str = ""
    executors: Sequence[str] = ()  # labels of the configuration


@dataclass(frozen=True, slots=True)
class AppTasks:
    """How many tasks of one app there are."""

    app: str
    total: int
    states: Mapping[str, int]  # by the names of states; those without tasks are left out


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """A task, now."""

    task_id: int
    app: str
    state: str
    executor: str
    attempt: int  # 1 for the first one
    submitted_at: float
    launched_at: float | None = None  # of the last attempt
    ended_at: float | None = None
    hostname: str = ""  # where the last attempt runs or ran
    manager: str = ""
    block_id: str = ""
    worker: int | None = None
    running_since: float | None = None
    duration_s: float | None = None
    waits_for: Sequence[int] = ()  # tasks that are not done
    error: str = ""  # of the last attempt that failed: class and message
    failed_attempts: int = 0
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run, now."""

    run: RunFacts
    state: RunState
    at: float  # when this was so
    ended_at: float | None
    total: int  # tasks submitted
    remaining: int  # tasks that are not final
    states: Mapping[str, int]  # how many tasks; states without tasks are left out
    apps: Sequence[AppTasks]  # by name
    rate_per_s: float | None  # tasks that became final per second, in the last seconds
    mean_rate_per_s: float | None  # since the first task
    eta_s: float | None  # seconds until the tasks that there are now are final, if it goes on like that
    executors: Sequence[ExecutorReport]
    failures: Sequence[TaskSnapshot] = ()  # the last ones
    notes: Sequence[str] = ()  # what is out of the ordinary: one line each


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that a task waits for, directly (depth 1) or because what it waits for does."""

    text: str  # one line: what it is, and what it is doing
    depth: int
    task_id: int | None = None  # None: a future that is no task of this run
    state: str = ""
    standing: Standing | None = None  # what its executor says, of the first few that wait for no other task


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task is where it is. ``str`` gives it in lines for people."""

    task: TaskSnapshot
    text: str  # one line that says it all
    waits: Sequence[Wait] = ()  # depth first, so that each stands below what waits for it
    more_waits: int = 0  # that are not listed
    standing: Standing | None = None  # what the executor says of the task's attempt
    notes: Sequence[str] = ()  # earlier attempts, and what can be done

    def __str__(self) -> str:
        lines, told = [self.text], set[Hindrance]()
        for wait in self.waits:
            lines.append(f"{'  ' * wait.depth}- {wait.text}")
            lines += _in_lines(wait.standing, "  " * (wait.depth + 1), told)
        if self.more_waits:
            lines.append(f"  - and {self.more_waits:,} more")
        return "\n".join([*lines, *_in_lines(self.standing, "  ", told), *self.notes])


def _in_lines(standing: Standing | None, indent: str, told: set[Hindrance]) -> Iterator[str]:
    """Each hindrance once: tasks of one executor often wait for the same."""
    for one in standing.hindrances if standing is not None else ():
        if one not in told:
            told.add(one)
            yield f"{indent}* {one.place}: {one.reason}{f' ({one.until})' if one.until else ''}"


@dataclass(frozen=True, slots=True)
class TaskList:
    """Some tasks of a run."""

    tasks: Sequence[TaskSnapshot]
    total: int  # that were asked for; more than are listed if there is a limit
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What became of a request to cancel tasks."""

    cancelled: Sequence[int]
    running: Sequence[int]  # cannot be stopped
    final: Sequence[int]  # ended before
    unknown: Sequence[int]  # no such tasks


def as_json(value: Any) -> Any:
    """The value with dicts in place of classes and lists in place of sequences."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: as_json(getattr(value, name)) for name in value._fields}
    if isinstance(value, Mapping):
        return {encodable(str(key)): as_json(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(element) for element in value]
    if isinstance(value, int | float | bool | None):
        return value
    return encodable(str(value))  # names of files may hold what JSON does not
