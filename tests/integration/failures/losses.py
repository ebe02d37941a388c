"""``python -m tests.integration.failures.losses``: what is lost with a manager, and how much of that had never started.

A manager with two workers ends while 200 tasks are outstanding, in each of the ways there are; another one takes its
place. Each task notes that it begins, so what is said to be lost can be compared with what was begun.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import trellis
from tests.integration.failures.conftest import Log, children, note
from tests.integration.htex.stage import Proxy
from trellis import Config, HighThroughputExecutor
from trellis.executors.htex.launch import DEFAULT_LAUNCH_CMD
from trellis.providers import LocalProvider

TASKS = 200
TASK_S = 0.01
WORKERS = 2
# Tasks that do nothing, before: the executor learns that tasks are short.
WARM_UP = 1_000
_LIMIT_S = 60.0
_THRESHOLD_S = 2


class Losses(NamedTuple):
    failed: int
    never_started: int  # of those that failed
    repeated: int  # tasks that were executed more than once


def _nothing() -> None:
    pass


def _note(path: str, name: str, seconds: float) -> None:
    note(path, name)
    time.sleep(seconds)


class Scene:
    """One manager that works, and may be disturbed."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        (self.manager,) = children("trellis: manager")

    def send(self, number: signal.Signals) -> None:
        self.manager.send_signal(number)

    def dismiss(self) -> None:
        """Stop it for longer than the interchange waits; it is dismissed when it wakes up."""
        self.manager.suspend()
        time.sleep(_THRESHOLD_S + 1.5)
        self.manager.resume()

    def cut(self) -> None:
        """Cut the connection for longer than a closed one is waited for; the manager registers again after it."""
        self.proxy.cut()
        time.sleep(1.0)
        self.proxy.heal()


ENDS: dict[str, Callable[[Scene], None]] = {
    "SIGKILL": lambda scene: scene.send(signal.SIGKILL),
    "SIGINT": lambda scene: scene.send(signal.SIGINT),
    "SIGTERM": lambda scene: scene.send(signal.SIGTERM),
    "an exception in the manager": lambda scene: scene.send(signal.SIGUSR1),
    "dismissal": Scene.dismiss,
    "registration again after a cut": Scene.cut,
}


def lose(end: str, warm_up: int, directory: Path, task_s: float = TASK_S, retries: int | None = None) -> Losses:
    """Have a manager end while tasks run, and say what became of them."""
    worker_port = _free_port()
    proxy = Proxy(worker_port)
    breakable = str(Path(__file__).with_name("breakable_manager.py"))
    launch_cmd = DEFAULT_LAUNCH_CMD.replace("-m trellis.executors.htex.manager.service", breakable)
    executor = HighThroughputExecutor(
        max_workers_per_node=WORKERS,
        cores_per_worker=0.1,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        launch_cmd=launch_cmd.replace("-p {worker_port}", f"-p {proxy.port}"),
        worker_port=worker_port,
        heartbeat_period=1,
        heartbeat_threshold=_THRESHOLD_S,
        block_error_handler=False,
    )
    config = Config(
        executors=[executor],
        run_dir=str(directory / "runs"),
        strategy_period=0.2,
        infrastructure_retries=retries,
        initialize_logging=False,
    )
    log = Log(directory / "log")
    try:
        with trellis.load(config):
            return _work(end, warm_up, log, proxy, task_s)
    finally:
        proxy.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _work(end: str, warm_up: int, log: Log, proxy: Proxy, task_s: float) -> Losses:
    nothing, app = trellis.python_app(_nothing), trellis.python_app(_note)
    for future in [nothing() for _ in range(warm_up)]:
        future.result(_LIMIT_S)
    futures = [app(log.path, str(number), task_s) for number in range(TASKS)]
    log.wait_for("6")
    ENDS[end](Scene(proxy))
    failed = {number for number, future in enumerate(futures) if future.exception(_LIMIT_S) is not None}
    begun = Counter(map(int, log.names()))
    return Losses(len(failed), len(failed - begun.keys()), sum(count > 1 for count in begun.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1, help="of each row; the worst is told (%(default)s)")
    parser.add_argument("--rows", nargs="*", default=list(ENDS), choices=list(ENDS), help="all, unless said otherwise")
    options = parser.parse_args()
    print(f"{TASKS} tasks of {1000 * TASK_S:g} ms, {WORKERS} workers; after {WARM_UP} tasks of 0 ms / after nothing\n")
    print("| the manager's end | failed | of these never started | executed twice |\n|---|---:|---:|---:|")
    for end in options.rows:
        worst = [_worst(end, warm_up, options.repetitions) for warm_up in (WARM_UP, 0)]
        cells = [f"{after} / {fresh}" for after, fresh in zip(*worst, strict=True)]
        print(f"| {end} | {' | '.join(cells)} |", flush=True)
    return 0


def _worst(end: str, warm_up: int, repetitions: int) -> Losses:
    found = []
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory(prefix="trellis-losses-") as directory:
            found.append(lose(end, warm_up, Path(directory)))
    return Losses(*(max(figures) for figures in zip(*found, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
