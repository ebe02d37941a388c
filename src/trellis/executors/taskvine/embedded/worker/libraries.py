"""The library processes of a worker: starts them, sends them calls, reads their results. Decides nothing."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from collections.abc import Callable

import msgspec

from trellis.executors.common.lifeline import Lifeline
from trellis.executors.common.process import tail
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.executors.taskvine.embedded.worker.helper_process import HelperProcess
from trellis.executors.taskvine.embedded.worker.orders import LibraryStart, TaskStart
from trellis.executors.taskvine.embedded.worker.processes import after, in_environment, python_of, variables_of
from trellis.executors.taskvine.embedded.worker.sandbox import Collected, Sandbox
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.executors.taskvine.remote import runner, trees
from trellis.executors.taskvine.remote.channel import KILL, PIDS, SETUP, ChannelMessage
from trellis.executors.taskvine.remote.library import LibrarySetup
from trellis.transport.service import Loop
from trellis.wire import stream
from trellis.wire.codec import Buffer, Payload, payload_buffers

_MODULE = "trellis.executors.taskvine.remote.library"
# What a library and its calls print is kept up to about this, then forgotten.
MAX_OUTPUT_BYTES = 16 * 2**20


class LibraryProcess:
    """A running instance of a library.

    Args:
        lifeline: of the worker: the library and its calls end with it, whatever it dies of.
        workspace: for its files, those of its calls, and large payloads, which both sides delete when read.
        on_message: told of each message.
        on_end: told when it has ended, and all that it wrote was told.

    Raises:
        OSError: it cannot be started, or its inputs not be put into place.
        ValueError: a path would lead out of its directory.
    """

    def __init__(
        self,
        loop: Loop,
        start: LibraryStart,
        cache: Cache,
        lifeline: Lifeline,
        workspace: Workspace,
        on_message: Callable[[int, ChannelMessage], None],
        on_end: Callable[[int, str], None],
    ) -> None:
        self.instance = start.instance
        self.name = start.name
        self._loop = loop
        self._cache = cache
        self._on_message = on_message
        self._on_end = on_end
        self._functions: set[int] = set()  # that it has
        self._calls: dict[int, tuple[Sandbox | None, TaskStart]] = {}  # that have files
        self._files = workspace.libraries / str(start.instance)
        self._payloads = workspace.payloads / str(start.instance)
        self._log = self._files / "output"
        try:
            for directory in (self._files, self._payloads, self._files / "tmp"):
                directory.mkdir()
            # Its own files are in a sandbox too; those of calls are beside it.
            self._home = Sandbox(self._files / "home", cache, start.inputs, ())
            self._start(start, lifeline)
        except BaseException:
            self._remove_files()
            raise
        setup = msgspec.json.encode(LibrarySetup(start.name, start.exec_mode, start.slots, str(self._home.path)))
        self._process.send(SETUP, payloads=(setup, start.context_function, start.context_arguments))

    def _start(self, start: LibraryStart, lifeline: Lifeline) -> None:
        self._process = HelperProcess(
            self._loop,
            lifeline,
            lambda words: after(start.init_command, [*self._command(start.environment), *words]),
            self._payloads,
            self._log,
            lambda message: self._on_message(self.instance, message),
            self._ended,
            cwd=self._home.path,
            environment={
                **in_environment(self._cache, start.environment, start.variables),
                **variables_of(self._home.path, self._files / "tmp"),
            },
        )

    def _command(self, environment: str) -> list[str]:
        if not environment:
            return [sys.executable, "-P", "-m", _MODULE]
        # Trellis need not be in the environment: what is there comes first, what is here last.
        standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
        standard |= {os.path.join(path, "lib-dynload") for path in standard}
        paths = [os.path.abspath(path) for path in sys.path if os.path.isdir(path) and path not in standard]
        code = f"import sys; sys.path += {paths!r}; from {_MODULE} import main; main()"
        return [python_of(self._cache.mounted(environment)), "-P", "-c", code]

    # -- to it -------------------------------------------------------------------------------------------------

    def forget(self, function: int) -> None:
        if function in self._functions:
            self._functions.discard(function)
            self._process.send(stream.FORGET, function)

    def call(self, start: TaskStart, function: Payload) -> None:
        """Raises:
        OSError: its inputs cannot be put into place, or there is no room for large arguments.
        ValueError: a path would lead out of its sandbox.
        """
        if start.function not in self._functions:
            paths = msgspec.json.encode([str(self._cache.mounted(name)) for name in start.imports])
            self._process.send(stream.FUNCTION, start.function, 0, (function, paths))
            self._functions.add(start.function)
        sandbox = None
        if start.inputs or start.outputs:
            directory = self._files / f"call-{start.id}"
            sandbox = Sandbox(directory, self._cache, start.inputs, [path for _, path, _ in start.outputs])
        if sandbox is not None or start.result_name:
            self._calls[start.id] = (sandbox, start)
        path = "" if sandbox is None else str(sandbox.path)
        try:
            self._process.send(stream.TASK, start.id, start.function, (path.encode(), start.arguments))
        except OSError:
            self.discard(start.id)
            raise

    def collect(self, id_: int, result: Payload | None) -> tuple[Collected, bool]:
        """A call has ended, with ``result`` or (None) an exception: take its outputs into the cache.

        Gives what came of them, and whether the result is among them.
        """
        if id_ not in self._calls:
            return Collected([], ""), False
        sandbox, start = self._calls.pop(id_)
        made, complaint = Collected([], "") if sandbox is None else sandbox.collect(start.outputs, result is None)
        if sandbox is not None:
            sandbox.remove()
        if result is None:
            return Collected(made, ""), False  # what it raised says more
        if start.result_name and not complaint:
            try:
                made.append((start.result_name, self._keep_result(start.result_name, result)))
            except OSError as error:
                complaint = f"its result cannot be kept: {error}"
        return Collected(made, complaint), bool(start.result_name)

    def spoilt(self, id_: int) -> list[str]:
        """Inputs that a call has written to, which has ended and whose outputs are still here."""
        sandbox, _ = self._calls.get(id_, (None, None))
        return [] if sandbox is None else sandbox.spoilt()

    def _keep_result(self, name: str, result: Payload) -> int:
        path = self._cache.arriving(name)
        runner.write_payload(str(path), runner.RESULT, payload_buffers(result))
        return self._cache.add(name, "workflow").size

    def discard(self, id_: int) -> list[tuple[str, int]]:
        """A call ended without a result; gives the outputs that are in the cache now, and their sizes in bytes."""
        return self.collect(id_, None)[0].made

    def kill_call(self, id_: int) -> None:
        self._process.send(KILL, id_)

    @property
    def pid(self) -> int | None:
        return self._process.child.pid

    def ask_pids(self) -> None:
        """Ask for the processes of the calls that run: it answers with a message of this kind."""
        self._process.send(PIDS)

    def kill(self) -> None:
        self._process.child.kill()

    def open(self, payload: Buffer) -> Payload:
        """What a message brings.

        Raises:
            OSError: it was in a file that is not there.
        """
        return self._process.open(payload)

    def _ended(self, words: str) -> None:
        self._on_end(self.instance, words)
        self._remove_files()

    def last_words(self) -> str:
        """The end of what it and its calls wrote."""
        return tail(self._log)

    def look(self, now: float) -> None:
        """Call it from time to time: see ``HelperProcess.look``; and calls may print for days."""
        self._process.look(now)
        if self._process.child.output_bytes() > MAX_OUTPUT_BYTES:
            with contextlib.suppress(OSError):
                os.truncate(self._log, 0)

    def end(self) -> None:
        """Kill it and wait for its end, without telling anybody."""
        self._process.end()
        self._remove_files()

    def _remove_files(self) -> None:
        for directory in (self._files, self._payloads):
            trees.remove(directory)
