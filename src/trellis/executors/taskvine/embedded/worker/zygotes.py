"""The process that tasks are copies of, as their worker sees it. Starts and ends it; decides nothing."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded.child_process import Watched
from trellis.executors.taskvine.embedded.worker.helper_process import HelperProcess
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.executors.taskvine.remote.channel import INLINE_BYTES, ChannelMessage
from trellis.executors.taskvine.remote.zygote import ENDED, KILL_TASK, STARTED, pack_start, unpack_end
from trellis.transport.service import Loop
from trellis.wire import stream

logger = logging.getLogger("trellis.vine.worker")

_MODULE = "trellis.executors.taskvine.remote.zygote"

# Variables that the interpreter, or the system's loader before it, reads when it starts: a copy would not.
_READ_AT_START = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LC_", "LANG")


class Fork(Watched):
    """A task's process: as ``Child``, but made by the zygote."""

    def __init__(self, output: Path, on_end: Callable[[int], None], kill: Callable[[], None]) -> None:
        super().__init__(output)
        self._kill = kill
        self._on_end = on_end
        self.pid: int | None = None  # not yet

    def kill(self) -> None:
        """End it and its group; ``on_end`` follows."""
        self._killed = True
        self._kill()

    def ended(self, status: int, peak_bytes: int, error: str) -> None:
        code = self._note_end(status, peak_bytes)
        self.reason = error or self.reason
        self._on_end(code)

    def lost(self, words: str, beside: int) -> None:
        """The zygote has died, and took it along, and ``beside`` others."""
        self.reason = f"the process that it was a copy of has ended: {words}"
        self.beside = beside
        self._on_end(-signal.SIGKILL)


class Zygotes:
    """A zygote, started when it is first needed, and again when it has died. Owned by the worker's one thread.

    Args:
        lifeline: of the worker: the zygote and its copies end with it, whatever it dies of.
        environment: what it is started with, as the worker was.
        again: told of tasks that it died before making a process for: they are to be started again.
    """

    def __init__(
        self,
        loop: Loop,
        workspace: Workspace,
        lifeline: Lifeline,
        environment: Mapping[str, str],
        again: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._lifeline = lifeline
        self._environment = environment
        self._again = again
        self._at_start = _read_at_start(environment)
        self._directory = workspace.logs
        self._payloads = workspace.payloads / "zygote"
        self._payloads.mkdir(exist_ok=True)
        self._process: HelperProcess | None = None
        self._ready = False  # the one that runs now
        self._broken = False  # it does not start: no more are tried
        self._forks: dict[int, Fork] = {}

    def start(
        self,
        id_: int,
        arguments: Sequence[str],
        output: Path,
        on_end: Callable[[int], None],
        cwd: Path,
        environment: Mapping[str, str],
    ) -> Fork | None:
        """Run a task with these arguments for the runner, and its output in a file; at its end tell the exit code.

        None: a copy would not be what an interpreter started with that environment is, or there can be none.

        Raises:
            OSError: the zygote cannot be started.
        """
        start = pack_start(str(cwd), str(output), dict(environment), list(arguments))
        if self._broken or _read_at_start(environment) != self._at_start or len(start) >= INLINE_BYTES:
            return None
        process = self._process or self._start_zygote()
        process.send(stream.TASK, id_, payloads=(start,))
        fork = self._forks[id_] = Fork(output, on_end, lambda: process.send(KILL_TASK, id_))
        return fork

    def _start_zygote(self) -> HelperProcess:
        self._ready = False
        self._process = HelperProcess(
            self._loop,
            self._lifeline,
            lambda words: [sys.executable, "-P", "-m", _MODULE, *words[:2]],
            self._payloads,
            self._directory / "zygote.out",
            self._on_message,
            self._on_end,
            cwd=self._directory,
            environment=self._environment,
        )
        return self._process

    def _on_message(self, message: ChannelMessage) -> None:
        if message.kind == stream.READY:
            self._ready = True
        elif message.kind == STARTED and message.id in self._forks:
            self._forks[message.id].pid = message.function
        elif message.kind == ENDED:
            self._forks.pop(message.id).ended(*unpack_end(message.payloads[0]))

    def _on_end(self, words: str) -> None:
        logger.warning("the process that tasks are copies of has ended: %s", words)
        self._process = None
        self._broken = not self._ready
        forks, self._forks = self._forks, {}
        begun = sum(fork.pid is not None for fork in forks.values())
        for id_, fork in forks.items():
            if fork.pid is None:
                self._again(id_)
            else:
                fork.lost(words, begun - 1)

    def look(self, now: float) -> None:
        """Call it from time to time: see ``HelperProcess.look``."""
        if self._process is not None:
            self._process.look(now)

    def close(self) -> None:
        """End it, with all copies."""
        if self._process is not None:
            self._process.end()
            self._process = None


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}
