"""``trellis perf chaos``: short tasks while their workers, managers and interchange are killed, and what became of all.

Kills only processes that were started for the run: descendants of this process. The task keeps a log of its own, so
that what was really executed is known from outside of Trellis.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import psutil

    from trellis.config import Config

# Over and over. An interchange is missed by everybody, a worker by one task.
_KINDS = (
    "worker",
    "manager",
    "worker",
    "interchange",
    "worker",
    "manager",
    "worker",
    "interchange",
    "worker",
    "manager",
)
# Submitted and without a result: some for each worker, and a queue behind them.
_WINDOW = 1_000
# So long each task takes at most; the time is drawn for each.
_LONGEST_TASK_S = 0.004
# So long one may look for a process to kill: others of its kind were killed before it, and it has to be started.
_PATIENCE_S = 60.0
# So that kills do not always come when a result has just arrived.
_LONGEST_PAUSE_S = 0.03


class Execution(NamedTuple):
    """A line of the log: a task starts in a worker's process. Times are of the system's monotonic clock."""

    task: int
    pid: int
    at: float


class Run(NamedTuple):
    """What happened to tasks 0 … ``tasks`` - 1."""

    tasks: int
    seconds: float
    killed: Counter[str]
    wrong: list[int]  # they gave another value than they should
    failed: dict[int, str]  # and why
    pending: int  # in the end
    executions: list[Execution]
    deaths: dict[int, float]  # of workers: when they, or their managers, were killed


class Repetitions(NamedTuple):
    """Tasks that were executed more or less often than once."""

    never: list[int]
    repeated: list[int]
    unexplained: list[int]  # of the repeated: their process was not killed before they were executed again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--tasks", type=_count, default=100_000, help="how many tasks (%(default)s)")
    parser.add_argument("--kills", type=_count, default=200, help="how many processes are killed (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed, and when (%(default)s)")
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
    """Run the tasks twice, without kills and with them, and print both; gives the exit code."""
    print(
        f"{options.tasks:,} tasks of up to {1000 * _LONGEST_TASK_S:g} ms, {options.managers} managers with "
        f"{options.workers} workers each, seed {options.seed}",
        flush=True,
    )
    calm = execute(options, kills=0)
    print(f"without kills: {calm.seconds:.1f} s, {calm.tasks / calm.seconds:,.0f} tasks/s", flush=True)
    wild = execute(options, kills=options.kills)
    print(describe(wild, calm.seconds), flush=True)
    return 0 if is_sound(calm) and is_sound(wild) else 1


def describe(wild: Run, calm_s: float) -> str:
    """What a run with kills has shown, in some lines."""
    repetitions = count_repetitions(wild)
    kills = ", ".join(f"{count} {kind}s" for kind, count in sorted(wild.killed.items()))
    lines = [
        f"with kills:    {wild.seconds:.1f} s, {wild.tasks / wild.seconds:,.0f} tasks/s: "
        f"{wild.seconds / calm_s:.2f} times as long",
        f"killed: {wild.killed.total()} processes ({kills})",
        f"lost: {wild.pending} without an outcome, {len(wild.failed)} failed, {len(wild.wrong)} with a wrong value, "
        f"{len(repetitions.never)} never executed",
        f"executed more than once: {len(repetitions.repeated)} tasks, {len(repetitions.unexplained)} of them although "
        "nobody had killed what executed them first",
    ]
    lines += [f"task {task} failed: {reason}" for task, reason in list(wild.failed.items())[:5]]
    if repetitions.unexplained:
        lines.append(f"without an explanation: tasks {repetitions.unexplained[:20]}")
    return "\n".join(lines)


def is_sound(done: Run) -> bool:
    """Whether every task has its right value, and nothing ran twice but for a kill."""
    repetitions = count_repetitions(done)
    return not (done.pending or done.failed or done.wrong or repetitions.never or repetitions.unexplained)


def count_repetitions(done: Run) -> Repetitions:
    """Compare what was executed with what was killed."""
    by_task: defaultdict[int, list[Execution]] = defaultdict(list)
    for execution in sorted(done.executions, key=lambda execution: execution.at):
        by_task[execution.task].append(execution)
    repeated = [task for task, executions in by_task.items() if len(executions) > 1]
    unexplained = [task for task in repeated if not _are_explained(by_task[task], done.deaths)]
    return Repetitions([task for task in range(done.tasks) if task not in by_task], repeated, unexplained)


def _are_explained(executions: Sequence[Execution], deaths: Mapping[int, float]) -> bool:
    """Whether each but the last was in a process that was killed before the next one."""
    return all(deaths.get(first.pid, float("inf")) <= second.at for first, second in itertools.pairwise(executions))


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


class Ledger:
    """Notes how the tasks end. Futures complete on a thread of the kernel; the run's thread waits for room."""

    def __init__(self) -> None:
        self.wrong: list[int] = []
        self.failed: dict[int, str] = {}
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
        if exception is not None:
            self.failed[task] = f"{type(exception).__name__}: {exception}"
        elif future.result() != value_of(task):
            self.wrong.append(task)
        self._room.release()


def execute(options: argparse.Namespace, kills: int) -> Run:
    """Run the tasks, killing so many processes meanwhile."""
    import trellis

    chance = random.Random(options.seed)
    due = kill_plan(options.tasks, kills, chance)
    ledger, killer = Ledger(), Killer(chance)
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
                for kind in due.get(task, ()):
                    killer.kill(kind)
                future = app(log, task, chance.uniform(0, _LONGEST_TASK_S))
                future.add_done_callback(functools.partial(ledger.note, task))
            pending = ledger.wait_for_all(deadline)
            seconds = time.monotonic() - started
        executions = read_log(log)
    return Run(options.tasks, seconds, killer.killed, ledger.wrong, ledger.failed, pending, executions, killer.deaths)


def kill_plan(tasks: int, kills: int, chance: random.Random) -> dict[int, list[str]]:
    """What to kill before which task is submitted. Each kind has its share, in random order, at random times."""
    kinds = [_KINDS[number % len(_KINDS)] for number in range(kills)]
    chance.shuffle(kinds)
    due: defaultdict[int, list[str]] = defaultdict(list)
    for kind in kinds:
        due[chance.randrange(tasks)].append(kind)
    return dict(due)


def _config(directory: str, options: argparse.Namespace) -> Config:
    from trellis import Config, HighThroughputExecutor
    from trellis.providers import LocalProvider

    blocks = options.managers
    executor = HighThroughputExecutor(
        label="chaos",
        provider=LocalProvider(init_blocks=blocks, min_blocks=blocks, max_blocks=blocks),
        # A manager is started again in its block: whole blocks that fail so often would be replaced ever more slowly.
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


class Killer:
    """Kills, and keeps the list."""

    def __init__(self, chance: random.Random) -> None:
        self.killed: Counter[str] = Counter()
        self.deaths: dict[int, float] = {}  # of workers, with their managers or alone
        self._chance = chance

    def kill(self, kind: str) -> None:
        """Kill -9 a random process of this kind, at once or when there is one."""
        import psutil

        time.sleep(self._chance.uniform(0, _LONGEST_PAUSE_S))
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            victims = [process for process in _descendants() if _is(process, kind)]
            if victims:
                victim = self._chance.choice(sorted(victims, key=lambda process: process.pid))
                try:
                    widows = victim.children(recursive=True)
                    victim.kill()
                except psutil.NoSuchProcess:  # it has just ended by itself
                    continue
                self.killed[kind] += 1
                self._note([victim, *widows])
                return
            time.sleep(0.05)
        raise TimeoutError(f"no {kind} within {_PATIENCE_S:g} s: nobody replaces those that were killed")

    def _note(self, dead: Iterable[psutil.Process]) -> None:
        now = time.monotonic()
        for process in dead:
            self.deaths.setdefault(process.pid, now)


def _descendants() -> list[psutil.Process]:
    import psutil

    return psutil.Process().children(recursive=True)


def _is(process: psutil.Process, kind: str) -> bool:
    import psutil

    try:
        return process.cmdline()[:1] == [f"trellis: {kind}"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
