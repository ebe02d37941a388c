"""``trellis perf chaos``: short tasks while what runs them is killed, stopped and replaced, and what became of all.

Signals only processes that were started for the run: descendants of this process. The task keeps a log of its own, so
that what was really executed is known from outside of Trellis.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from trellis.cli.chaos_report import Execution, Run, describe, is_sound

if TYPE_CHECKING:
    import psutil

    from trellis.config import Config
    from trellis.providers import LocalProvider

# What happens: the name of it as it is told, to which process, and with which signal. A stopped process goes on later.
_KILL, _STOP, _INTERRUPT, _TERMINATE = signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM
_EVENTS: dict[str, tuple[str, signal.Signals]] = {
    "workers killed": ("worker", _KILL),
    "managers killed": ("manager", _KILL),
    "interchanges killed": ("interchange", _KILL),
    "managers interrupted": ("manager", _INTERRUPT),  # and their blocks replaced
    "managers told to end": ("manager", _TERMINATE),  # and their blocks replaced
    "blocks killed": ("block", _KILL),  # and replaced
    "workers stopped": ("worker", _STOP),
    "managers stopped": ("manager", _STOP),
    "interchanges stopped": ("interchange", _STOP),
}
# Over and over. An interchange is missed by everybody, a worker by one task.
_CYCLE = (
    *["workers killed"] * 5,
    *["managers killed"] * 4,
    *["interchanges killed"] * 2,
    *["managers interrupted"] * 2,
    "managers told to end",
    *["blocks killed"] * 2,
    "workers stopped",
    *["managers stopped"] * 2,
    "interchanges stopped",
)
# So long a process stays stopped at most: less than anybody takes for its end.
_LONGEST_STOP_S = 1.5
# Submitted and without a result: some for each worker, and a queue behind them.
_WINDOW = 1_000
# So long each task takes at most; the time is drawn for each.
_LONGEST_TASK_S = 0.004
# So long one may look for a process to kill: others of its kind were killed before it, and it has to be started.
_PATIENCE_S = 60.0
# So that kills do not always come when a result has just arrived.
_LONGEST_PAUSE_S = 0.03


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--tasks", type=_count, default=100_000, help="how many tasks (%(default)s)")
    parser.add_argument(
        "--events",
        "--kills",
        type=_count,
        default=300,
        metavar="N",
        help="how many times something is killed, interrupted, stopped for a while or replaced (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of what happens to which, and when (%(default)s)")
    parser.add_argument("--managers", type=_count, default=3, help="managers at a time (%(default)s)")
    parser.add_argument("--workers", type=_count, default=2, help="workers of each manager (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="what it may take at most (%(default)s)")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return number


def run(options: argparse.Namespace) -> int:
    """Run the tasks twice, in peace and with events, and print both; gives the exit code."""
    print(
        f"{options.tasks:,} tasks of up to {1000 * _LONGEST_TASK_S:g} ms, {options.managers} managers with "
        f"{options.workers} workers each, seed {options.seed}",
        flush=True,
    )
    calm = execute(options, events=0)
    print(f"in peace:      {calm.seconds:.1f} s, {calm.tasks / calm.seconds:,.0f} tasks/s", flush=True)
    wild = execute(options, events=options.events)
    print(describe(wild, calm.seconds), flush=True)
    return 0 if is_sound(calm) and is_sound(wild) else 1


# -- the run ---------------------------------------------------------------------------------------------------


def visit(log: str, task: int, seconds: float) -> int:
    """The task: note that it starts, take a moment, and give what ``value_of`` gives."""
    os.write(_log_fd(log), b"%d %d %.6f\n" % (task, os.getpid(), time.monotonic()))
    time.sleep(seconds)
    return value_of(task)


@functools.cache
def _log_fd(path: str) -> int:
    # Lines of different processes do not mix: each is one write at the end of the file.
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def value_of(task: int) -> int:
    """The right result."""
    return task * task + 1


def read_log(path: str) -> list[Execution]:
    """All executions, in their order."""
    with open(path) as file:
        return [Execution(int(task), int(pid), float(at)) for task, pid, at in map(str.split, file)]


class ChaosLedger:
    """Notes how the tasks end. Futures complete on a thread of the kernel; the run's thread waits for room."""

    def __init__(self) -> None:
        self.wrong: list[int] = []
        self.failed: dict[int, str] = {}
        self.losses: dict[int, list[str]] = {}
        self._room = threading.Semaphore(_WINDOW)

    def wait_for_room(self, timeout_s: float) -> bool:
        return self._room.acquire(timeout=max(0.0, timeout_s))

    def wait_for_all(self, deadline: float) -> int:
        """How many have no outcome at the deadline."""
        there = 0
        while there < _WINDOW and self.wait_for_room(deadline - time.monotonic()):
            there += 1
        return _WINDOW - there

    def note(self, task: int, future: Future[Any]) -> None:
        exception = future.exception()
        losses: list[str] = getattr(getattr(future, "task_record", None), "fail_history", [])
        if losses:
            self.losses[task] = list(losses)
        if exception is not None:
            self.failed[task] = f"{type(exception).__name__}: {exception}"
        elif future.result() != value_of(task):
            self.wrong.append(task)
        self._room.release()


def execute(options: argparse.Namespace, events: int) -> Run:
    """Run the tasks, while so many things happen."""
    import trellis

    chance = random.Random(options.seed)
    due = event_plan(options.tasks, events, chance)
    ledger, trouble = ChaosLedger(), Trouble(chance)
    with tempfile.TemporaryDirectory(prefix="trellis-chaos-") as directory:
        log = os.path.join(directory, "log")
        app = trellis.python_app(visit)
        with trellis.load(_config(directory, options)):
            app(os.devnull, 0, 0.0).result()  # the first workers are there
            started = time.monotonic()
            deadline = started + options.seconds
            for task in range(options.tasks):
                if not ledger.wait_for_room(deadline - time.monotonic()):
                    break
                for event in due.get(task, ()):
                    trouble.make(event)
                future = app(log, task, chance.uniform(0, _LONGEST_TASK_S))
                future.add_done_callback(functools.partial(ledger.note, task))
            pending = ledger.wait_for_all(deadline)
            seconds = time.monotonic() - started
            trouble.end()
        executions = read_log(log)
    return Run(
        options.tasks,
        seconds,
        trouble.events,
        ledger.wrong,
        ledger.failed,
        pending,
        executions,
        trouble.deaths,
        ledger.losses,
        options.workers,
    )


def event_plan(tasks: int, events: int, chance: random.Random) -> dict[int, list[str]]:
    """What happens before which task is submitted. Each kind has its share, in random order, at random times."""
    kinds = [_CYCLE[number * 3 % len(_CYCLE)] for number in range(events)]
    chance.shuffle(kinds)
    due: defaultdict[int, list[str]] = defaultdict(list)
    for kind in kinds:
        due[chance.randrange(tasks)].append(kind)
    return dict(due)


def _config(directory: str, options: argparse.Namespace) -> Config:
    from trellis import Config, HighThroughputExecutor

    blocks = options.managers
    executor = HighThroughputExecutor(
        label="chaos",
        provider=_patient_provider()(init_blocks=blocks, min_blocks=blocks, max_blocks=blocks),
        # A manager that was killed is started again in its block; one that ends by itself ends its block.
        launch_cmd=f"until {HighThroughputExecutor().launch_cmd}; do :; done",
        max_workers_per_node=options.workers,
        cores_per_worker=0.1,
        heartbeat_period=1,
        heartbeat_threshold=10,
        block_error_handler=False,
    )
    return Config(
        executors=[executor],
        run_dir=directory,
        infrastructure_retries=1_000_000,
        strategy_period=0.2,
        initialize_logging=False,
    )


def _patient_provider() -> type[LocalProvider]:
    from trellis.core.jobs import JobState, JobStatus
    from trellis.providers import LocalProvider

    class PatientProvider(LocalProvider):
        """A provider whose jobs end, do not fail, and are none too short: such are replaced ever more slowly."""

        steady_s = 0.0

        def status(self, job_ids: list[Any]) -> list[JobStatus]:
            failed, ended = (JobState.FAILED, JobState.MISSING), JobState.COMPLETED
            return [
                JobStatus(ended, status.message) if status.state in failed else status
                for status in super().status(job_ids)
            ]

    return PatientProvider


class Trouble:
    """Makes things happen, and keeps the list."""

    def __init__(self, chance: random.Random) -> None:
        self.events: Counter[str] = Counter()
        self.deaths: dict[int, float] = {}  # of workers, with their managers or alone
        self._chance = chance
        self._stopped: list[threading.Timer] = []

    def make(self, event: str) -> None:
        """Have this happen to a random process, at once or when there is one."""
        import psutil

        kind, number = _EVENTS[event]
        time.sleep(self._chance.uniform(0, _LONGEST_PAUSE_S))
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            victims = _blocks() if kind == "block" else [one for one in _descendants() if _is(one, kind)]
            if victims:
                victim = self._chance.choice(sorted(victims, key=lambda process: process.pid))
                try:
                    self._signal(victim, number, kind)
                except (psutil.NoSuchProcess, ProcessLookupError):  # it has just ended by itself
                    continue
                self.events[event] += 1
                return
            time.sleep(0.05)
        raise TimeoutError(f"no {kind} within {_PATIENCE_S:g} s: nobody replaces those that have ended")

    def _signal(self, victim: psutil.Process, number: signal.Signals, kind: str) -> None:
        widows = victim.children(recursive=True)
        if number is _STOP:
            victim.suspend()
            timer = threading.Timer(self._chance.uniform(0, _LONGEST_STOP_S), _resume, (victim,))
            timer.start()
            self._stopped.append(timer)
            return
        now = time.monotonic()
        if kind == "block":
            os.killpg(victim.pid, number)  # the whole job, as a batch system does
        else:
            victim.send_signal(number)
        for process in [victim, *widows]:
            self.deaths.setdefault(process.pid, now)

    def end(self) -> None:
        """Wait until everything that was stopped goes on."""
        for timer in self._stopped:
            timer.join()


def _resume(process: psutil.Process) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):  # it was killed
        process.resume()


def _descendants() -> list[psutil.Process]:
    import psutil

    return psutil.Process().children(recursive=True)


def _blocks() -> list[psutil.Process]:
    """The scripts of jobs; each leads a process group."""
    import psutil

    return [one for one in psutil.Process().children() if one.name() == "bash" and _lives(one)]


def _is(process: psutil.Process, kind: str) -> bool:
    import psutil

    try:
        return process.cmdline()[:1] == [f"trellis: {kind}"] and _lives(process)
    except psutil.Error:
        return False


def _lives(process: psutil.Process) -> bool:
    import psutil

    return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED)
