"""Tasks of a worker that have processes of their own: starts them in sandboxes, reads results. Decides nothing."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from trellis.executors.taskvine.embedded.cache import Cache
from trellis.executors.taskvine.embedded.child import Child
from trellis.executors.taskvine.embedded.sandbox import MissingOutput, Sandbox
from trellis.executors.taskvine.remote import runner
from trellis.transport.service import Loop
from trellis.wire.codec import Buffer, Payload, payload_buffers
from trellis.wire.vine import Amount

_RUNNER = os.path.abspath(runner.__file__)
_MB = 2**20


class TaskStart(NamedTuple):
    """How a task is started."""

    id: int
    function: int
    arguments: Payload
    inputs: Sequence[tuple[str, str]]  # cache name, path
    outputs: Sequence[tuple[str, str, str]]  # cache name, path, level
    result_name: str  # cache name that the result is kept under; empty: it goes home
    python: str
    init_command: str
    variables: Sequence[tuple[str, str]]


class TaskEnd(NamedTuple):
    """What came of it."""

    exit_code: int
    reason: str
    payload: Payload | None  # None: it has left none
    failed: bool
    started: float
    duration_s: float
    missing: str
    made: list[tuple[str, int]]  # outputs that are in the cache now, and their sizes in bytes


class _Process(NamedTuple):
    start: TaskStart
    child: Child
    sandbox: Sandbox
    files: Path  # its arguments, result and output; not in the sandbox, where the task may write anything


class Processes:
    """Owned by the worker's one thread."""

    def __init__(self, loop: Loop, cache: Cache, workspace: Path, on_end: Callable[[int, TaskEnd], None]) -> None:
        self._loop = loop
        self._cache = cache
        self._directory = workspace / "tasks"
        self._functions = workspace / "functions"
        for directory in (self._directory, self._functions):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
        self._on_end = on_end
        self._running: dict[int, _Process] = {}

    def define(self, function: int, data: Buffer) -> None:
        runner.write_payload(str(self._functions / str(function)), runner.CALL, (data,))

    def forget(self, function: int) -> None:
        (self._functions / str(function)).unlink(missing_ok=True)

    def start(self, start: TaskStart, environment: Mapping[str, str]) -> None:
        """Raises:
        OSError: it cannot be started, or its inputs not be put into place.
        ValueError: a path would lead out of its sandbox.
        """
        files = self._directory / str(start.id)
        files.mkdir()
        sandbox: Sandbox | None = None
        try:
            sandbox = Sandbox(files / "sandbox", self._cache, start.inputs, [path for _, path, _ in start.outputs])
            runner.write_payload(str(files / "arguments"), runner.CALL, payload_buffers(start.arguments))
            child = self._spawn(start, sandbox, files, environment)
        except BaseException:
            shutil.rmtree(files, ignore_errors=True)
            raise
        self._running[start.id] = _Process(start, child, sandbox, files)

    def _spawn(self, start: TaskStart, sandbox: Sandbox, files: Path, environment: Mapping[str, str]) -> Child:
        argv = [start.python, "-P", _RUNNER, str(self._functions / str(start.function))]
        argv += [str(files / "arguments"), str(files / "result")]
        if start.init_command:
            argv = ["/bin/sh", "-c", f"{start.init_command} exec {shlex.join(argv)}"]
        environment = {
            **environment,
            "VINE_SANDBOX": str(sandbox.path),
            "TMPDIR": str(sandbox.path / "tmp"),
        }
        return Child(
            self._loop,
            argv,
            files / "output",
            lambda child, code: self._ended(start.id, code),
            cwd=sandbox.path,
            environment=environment,
        )

    def kill(self, id_: int) -> None:
        self._running[id_].child.kill()

    def _ended(self, id_: int, code: int) -> None:
        process = self._running.pop(id_)
        end = self._read_end(process, code)
        shutil.rmtree(process.files, ignore_errors=True)
        self._on_end(id_, end)

    def _read_end(self, process: _Process, code: int) -> TaskEnd:
        words = process.child.words()
        try:
            kind, buffers, started, duration_s = runner.read_payload(str(process.files / "result"))
        except (OSError, ValueError):
            return TaskEnd(code, words, None, True, 0.0, 0.0, "", [])
        payload: Payload = buffers[0] if len(buffers) == 1 else buffers
        failed = kind == runner.ERROR
        made: list[tuple[str, int]] = []
        missing = ""
        if not failed:
            try:
                made = process.sandbox.collect(process.start.outputs)
                if process.start.result_name:
                    kept = self._cache.adopt(process.start.result_name, process.files / "result", "workflow")
                    made.append((kept.name, kept.size))
                    payload = b""
            except MissingOutput as error:
                missing = str(error)
        return TaskEnd(code, words, payload, failed, started, duration_s, missing, made)

    def measure(self, id_: int) -> Amount:
        """What a task uses now: processors as in the last moment, memory of all its processes, disk in its sandbox."""
        process = self._running.get(id_)
        if process is None:
            return Amount()
        memory = 0
        try:
            main = psutil.Process(process.child.pid)
            for part in [main, *main.children(recursive=True)]:
                memory += part.memory_info().rss
        except psutil.Error:  # it is just ending
            pass
        return Amount(memory=memory / _MB, disk=process.sandbox.disk_bytes() / _MB)

    def close(self) -> None:
        """Kill what runs."""
        for process in self._running.values():
            process.child.end()
        self._running.clear()
        shutil.rmtree(self._directory, ignore_errors=True)
        shutil.rmtree(self._functions, ignore_errors=True)
