"""A configuration's executor tried out, one step after the other, on one block. Nothing is printed here.

The first step that fails ends the examination: what comes after it cannot work. Whatever was started is ended.
"""

from __future__ import annotations

import platform
import socket
import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from trellis.core.diagnosis import diagnose
from trellis.core.interfaces import ExecutorContext
from trellis.core.jobs import JobState, JobStatus
from trellis.core.waiting import why_it_waits
from trellis.executors.adapter import adapt

OK, FAILED, SKIPPED = "ok", "failed", "skipped"

# How often to look whether a step has come to its end.
_LOOK_S = 0.1
# An address that works answers in a fraction of a second; one that does not shall not take half a minute each time.
PROBE_TIMEOUT_S = 5
# What starting Python on a node may take, from a file system that a thousand others use.
CONNECT_TIMEOUT_S = 25.0
# What a job or a manager wrote is shown as far as this, from the end.
_MOST_LINES = 12


class Verdict(NamedTuple):
    """How one step went. ``hint``: what to try."""

    step: str
    state: str
    seconds: float = 0.0
    detail: str = ""
    hint: str = ""


class StepFailed(Exception):
    """A step did not work; ``evidence`` is what was found, ``hint`` what to try if that says nothing by itself."""

    def __init__(self, evidence: str, hint: str = "") -> None:
        super().__init__(evidence)
        self.evidence = evidence
        self.hint = diagnose(evidence) or hint


class Place(NamedTuple):
    """Where a task ran."""

    hostname: str
    python: str
    executable: str


def where_am_i() -> Place:
    """Runs on the worker."""
    return Place(socket.gethostname(), platform.python_version(), sys.executable)


def try_import(name: str) -> str:
    """Runs on the worker; gives the version of the package, if it says one."""
    return str(getattr(import_module(name), "__version__", ""))


@dataclass
class Examination:
    """An executor's steps, in order.

    Args:
        executor: of a configuration; not started. It is changed: one block only, and short probes.
        run_dir: for its logs and keys.
        packages: to be imported on a worker.
        timeout_s: how long the job may wait in a queue, and a task may take.
    """

    executor: Any
    run_dir: str
    packages: Sequence[str]
    timeout_s: float

    def __post_init__(self) -> None:
        self._executor = adapt(self.executor)
        self._notices: list[str] = []
        self._place: Place | None = None
        self._provider = getattr(self.executor, "provider", None)

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Name of each step, and what does it; that gives a detail or raises ``StepFailed``."""
        steps = [(f"{self.executor.label} starts", self._start)]
        if self._provider is not None:
            steps += [("a block is submitted", self._wait_for_submission), ("its job runs", self._wait_for_job)]
        if hasattr(self.executor, "connected_managers"):
            steps.append(("a manager connects", self._wait_for_manager))
        steps.append(("a task runs", self._run_task))
        return steps + [(f"import {name}", lambda name=name: self._import(name)) for name in self.packages]

    def run(self) -> Generator[Verdict | str]:
        """Do all steps; yields the name of each before it begins, and its verdict at its end."""
        failed = False
        try:
            for name, step in self.steps():
                if failed:
                    yield Verdict(name, SKIPPED)
                    continue
                yield name
                verdict = judge(name, step)
                yield verdict
                # Packages that are missing are all named.
                failed = verdict.state == FAILED and not name.startswith("import ")
        finally:
            self._executor.shutdown()

    # -- steps -------------------------------------------------------------------------------------------------

    def _start(self) -> str:
        if self._provider is not None:
            if self._provider.max_blocks < 1 and self._provider.init_blocks < 1:
                raise StepFailed(
                    "its provider starts no blocks (max_blocks=0)",
                    "to try it out, allow at least one with max_blocks=1",
                )
            self._provider.init_blocks, self._provider.min_blocks, self._provider.max_blocks = 1, 0, 1
        if hasattr(self.executor, "address_probe_timeout"):
            self.executor.address_probe_timeout = min(self.executor.address_probe_timeout or 30, PROBE_TIMEOUT_S)
        self._executor.start(ExecutorContext(run_dir=self.run_dir, strategy="none", notify=self._notices.append))
        return ""

    def _wait_for_submission(self) -> str:
        def job() -> str | None:
            if jobs := self.executor.blocks_to_job_id:
                return f"job {next(iter(jobs.values()))}"
            status = self._status()
            if status is not None and status.terminal:
                raise StepFailed(status.message or str(status), "see what the batch system says above")
            return None

        return self._wait(job, self.timeout_s, "the provider has not answered", "is the batch system overloaded?")

    def _wait_for_job(self) -> str:
        def running() -> str | None:
            if self._managers():
                return ""
            status = self._status()
            if status is None or status.state in (JobState.PENDING, JobState.UNKNOWN, JobState.HELD):
                if status is not None and (cause := why_it_waits(status.message or "")) and not cause.passes:
                    raise StepFailed(f"the job waits, and will do so for ever: {status}", cause.hint)
                return None
            self._check_alive(status)
            return status.message or ""

        return self._wait(
            running,
            self.timeout_s,
            "the job still waits in its queue",
            "nothing is known to be wrong: wait longer with --timeout, or ask for a smaller or shorter block",
        )

    def _wait_for_manager(self) -> str:
        def connected() -> str | None:
            if managers := self._managers():
                return ", ".join(f"{m['hostname']}, {m['worker_count']} workers" for m in managers)
            status = self._status()
            if status is not None:
                self._check_alive(status)
            return None

        return self._wait(
            connected,
            CONNECT_TIMEOUT_S,
            "the job runs, but no manager has connected",
            "the nodes cannot reach this host, or the launcher starts nothing: look at launch_cmd and address=",
        )

    def _run_task(self) -> str:
        place = self._place = Place(*self._result(self._executor.submit(where_am_i, self._demand())))
        here = platform.python_version()
        if place.python.split(".")[:2] != here.split(".")[:2]:
            raise StepFailed(
                f"the worker has Python {place.python} ({place.executable} on {place.hostname}), the program {here}",
                "functions do not travel between versions of Python: activate the program's environment in worker_init",
            )
        return f"on {place.hostname}, Python {place.python}"

    def _import(self, name: str) -> str:
        try:
            return self._result(self._executor.submit(try_import, self._demand(), name)) or ""
        except StepFailed as failure:
            assert self._place is not None
            missing = f"{self._place.executable} on {self._place.hostname} cannot import {name}"
            raise StepFailed(
                f"{missing}: {failure.evidence}",
                f"install {name} there, or activate in worker_init the environment that has it",
            ) from failure

    # -- helpers -----------------------------------------------------------------------------------------------

    def _managers(self) -> list[dict[str, Any]]:
        ask = getattr(self.executor, "connected_managers", None)
        return [] if ask is None else list(ask())

    def _demand(self) -> dict[str, Any]:
        """The smallest specification that the executor takes."""
        return {"num_nodes": 1, "ranks_per_node": 1} if getattr(self.executor, "enable_mpi_mode", False) else {}

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result(self.timeout_s)
        except NotInTime:
            future.cancel()
            raise StepFailed(f"no result after {self.timeout_s:g} s", "wait longer with --timeout") from None
        except Exception as error:
            raise StepFailed(f"{type(error).__name__}: {error}") from error

    def _status(self) -> JobStatus | None:
        self.executor.poll_facade()
        statuses = list(self.executor.status().values())
        return statuses[0] if statuses else None

    def _check_alive(self, status: JobStatus) -> None:
        if not status.terminal:
            return
        words = "\n".join(filter(None, (last_lines(status.stderr), last_lines(status.stdout))))
        raise StepFailed(
            "\n".join(filter(None, [status.message or f"the job has ended: {status}", words, *self._notices])),
            "the job wrote nothing that says why: try the command of its script (submit_scripts in the run directory) "
            "by hand",
        )

    def _wait(self, found: Callable[[], str | None], timeout_s: float, what: str, hint: str) -> str:
        """Wait until ``found`` gives something."""
        deadline = time.monotonic() + timeout_s
        while (answer := found()) is None:
            if time.monotonic() >= deadline:
                status = self._status()
                said = [] if status is None else [status.message, last_lines(status.stderr)]
                evidence = [f"{what} after {timeout_s:g} s", *said, *self._notices]
                cause = why_it_waits(status.message or "") if status is not None else None
                raise StepFailed("\n".join(filter(None, evidence)), hint if cause is None else cause.hint)
            time.sleep(_LOOK_S)
        return answer


def judge(name: str, step: Callable[[], str]) -> Verdict:
    """Do a step, and say how it went."""
    started = time.monotonic()
    try:
        detail = step()
    except StepFailed as failure:
        return Verdict(name, FAILED, time.monotonic() - started, failure.evidence, failure.hint)
    except Exception as error:
        evidence = f"{type(error).__name__}: {error}"
        return Verdict(name, FAILED, time.monotonic() - started, evidence, diagnose(evidence) or "")
    return Verdict(name, OK, time.monotonic() - started, detail)


def last_lines(text: str | None) -> str:
    """The end of what somebody wrote; without the traces of shells."""
    lines = [line for line in (text or "").strip().splitlines() if not line.startswith("+")]
    return "\n".join(lines[-_MOST_LINES:])
