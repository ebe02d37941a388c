"""A process beside each manager that outlives it, and tells the interchange which of its tasks had not started.

It is forked from the manager before that has threads, and shares what the workers share: their queue and their board.
It sleeps until the manager lets go of a pipe. Without a farewell the manager was killed: then whatever is in the queue
has not started, for once it is taken out nobody can start it, and of what was not in the queue the board and the list
of ``Unstarted`` tell. A task that a worker had taken, and not written on the board, counts as started.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable

from trellis.executors.common.process_title import show_as
from trellis.executors.htex.manager.shared import Shared
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import ClientKeys
from trellis.wire import stream
from trellis.wire.codec import Buffer, encode_header
from trellis.wire.messages import WitnessReport, witness_of

logger = logging.getLogger("trellis.manager")

# So long it tries to tell the interchange, which may be gone, or be started again just now.
_PATIENCE_MS = 5_000
_FAREWELL = "-"
# What a batch system or a user sends to all processes of a job. The witness ends with its manager, by itself.
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Witness:
    """The manager's side. Make it while there are no threads.

    Args:
        manager: its name.
        keys: for the connection to the interchange; None: no encryption.
        shared: what the workers share with the manager.
    """

    def __init__(self, manager: str, keys: ClientKeys | None, shared: Shared) -> None:
        reader, self._writer = os.pipe()
        gc.freeze()  # pages that are not written to stay common to both processes
        self._pid = os.fork()
        if self._pid:
            os.close(reader)
            return
        try:
            os.close(self._writer)
            _watch(reader, shared, lambda url: _report(manager, keys, url, shared))
        except BaseException:
            logger.exception("the witness failed")
        finally:
            os._exit(0)

    def tell_address(self, url: str) -> None:
        """Where the interchange is to be found. Without it there is nobody to report to."""
        self._say(url)

    def _say(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it was killed
            os.write(self._writer, f"{line}\n".encode())

    def close(self, all_is_said: bool) -> None:
        """Wait until the witness has ended; it reports first unless the manager has said all by itself."""
        if all_is_said:
            self._say(_FAREWELL)
        os.close(self._writer)
        os.waitpid(self._pid, 0)


def _watch(reader: int, shared: Shared, report: Callable[[str], None]) -> None:
    """Wait, in the witness, for the end of the manager, and report it unless there was a farewell."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.setsid()  # whoever kills the manager's process group means the manager
    show_as("witness")
    shared.queue.let_go()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # whoever waits for the manager's last words does not wait for ours
        os.dup2(null, fd)
    said = b""
    while data := os.read(reader, 4096):
        said += data
    lines = said.decode().splitlines()
    if lines and lines[-1] != _FAREWELL:
        report(lines[-1])


def _report(manager: str, keys: ClientKeys | None, url: str, shared: Shared) -> None:
    running = list(shared.board.all_running())
    # First what the manager had in its hands: should it be in the queue as well, it is not started either.
    taken = [task for message in shared.queue.take_back() if (task := stream.task_id(message)) is not None]
    context = new_context()
    endpoint = ClientEndpoint(context, keys, witness_of(manager).encode())
    endpoint.connect(url)
    endpoint.send(death_report(manager, running, {*shared.unstarted.read(), *taken}))
    endpoint.close(_PATIENCE_MS)
    context.term()


def death_report(manager: str, running: list[int], found: set[int]) -> list[Buffer]:
    """What a witness says: which tasks run, and which have not started; ``found``: in the queue, or set aside."""
    unstarted = found.difference(running)
    logger.info("manager %s is gone: %d tasks run, %d have not started", manager, len(running), len(unstarted))
    return [encode_header(WitnessReport(manager, running, sorted(unstarted)))]
