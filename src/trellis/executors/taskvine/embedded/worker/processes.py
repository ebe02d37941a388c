"""Tasks of a worker that have processes of their own: starts them in sandboxes, reads results. Decides nothing."""

from __future__ import annotations

import os
import py_compile
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from trellis.executors.common import memory_use
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded.child_process import Child
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.executors.taskvine.embedded.worker.orders import TaskEnd, TaskStart
from trellis.executors.taskvine.embedded.worker.sandbox import Sandbox
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.executors.taskvine.embedded.worker.zygotes import Fork, Zygotes
from trellis.executors.taskvine.remote import runner, trees
from trellis.executors.taskvine.task_use import use_of
from trellis.transport.service import Loop
from trellis.wire.codec import Buffer, Payload, payload_buffers
from trellis.wire.vine import Resources

_MB = 2**20


class _Process(NamedTuple):
    start: TaskStart
    child: Child | Fork
    environment: Mapping[str, str]
    sandbox: Sandbox
    files: Path  # its arguments, result and output; not in the sandbox, where the task may write anything


class Processes:
    """Owned by the worker's one thread.

    Args:
        lifeline: of the worker: tasks end with it, whatever it dies of.
        on_end: told when a task has ended and its files are gone.
    """

    def __init__(
        self, loop: Loop, cache: Cache, workspace: Workspace, lifeline: Lifeline, on_end: Callable[[int, TaskEnd], None]
    ) -> None:
        self._loop = loop
        self._cache = cache
        self._workspace = workspace
        self._lifeline = lifeline
        self._on_end = on_end
        self._running: dict[int, _Process] = {}
        self._zygotes = Zygotes(loop, workspace, lifeline, os.environ, self._start_again)
        # Compiled once, not in each task: a program's main file is not looked up among the compiled ones.
        self._runner = str(workspace.logs / "runner.pyc")
        py_compile.compile(runner.__file__, self._runner, runner.__file__)

    def forget(self, function: int) -> None:
        self._function_path(function).unlink(missing_ok=True)

    def _function_path(self, function: int) -> Path:
        return self._workspace.functions / str(function)

    def start(self, start: TaskStart, function: Buffer, environment: Mapping[str, str]) -> None:
        """Raises:
        OSError: it cannot be started, or its inputs not be put into place.
        ValueError: a path would lead out of its sandbox.
        """
        path = self._function_path(start.function)
        if not path.exists():
            runner.write_payload(str(path), runner.CALL, (function,))
        files = self._workspace.tasks / str(start.id)
        (files / "tmp").mkdir(parents=True)
        try:
            sandbox = Sandbox(files / "sandbox", self._cache, start.inputs, [path for _, path, _ in start.outputs])
            runner.write_payload(str(files / "arguments"), runner.CALL, payload_buffers(start.arguments))
            child = self._spawn(start, sandbox, files, environment)
        except BaseException:
            trees.remove(files)
            raise
        self._running[start.id] = _Process(start, child, environment, sandbox, files)

    def _start_again(self, id_: int) -> None:
        """There was no process to make a copy of."""
        process = self._running[id_]
        try:
            child = self._spawn(process.start, process.sandbox, process.files, process.environment)
        except OSError as error:
            (process.files / "output").write_text(f"it could not be started: {error}")
            self._ended(id_, 1)
            return
        self._running[id_] = process._replace(child=child)

    def _spawn(self, start: TaskStart, sandbox: Sandbox, files: Path, environment: Mapping[str, str]) -> Child | Fork:
        output = files / "output"
        environment = {**environment, **variables_of(sandbox.path, files / "tmp")}
        arguments = [str(self._function_path(start.function)), str(files / "arguments"), str(files / "result")]
        if not start.environment and not start.shape.init_command:
            fork = self._zygotes.start(
                start.id, arguments, output, lambda code: self._ended(start.id, code), sandbox.path, environment
            )
            if fork is not None:
                return fork
        lifeline = self._lifeline.worker_end
        if start.environment:
            # Of another version, perhaps: then it cannot read what ours has compiled.
            argv = [python_of(self._cache.mounted(start.environment)), "-P", runner.__file__]
        else:
            argv = [sys.executable, "-P", self._runner]
        return Child(
            self._loop,
            after(start.shape.init_command, [*argv, *arguments, str(lifeline)]),
            output,
            lambda child, code: self._ended(start.id, code),
            cwd=sandbox.path,
            environment=in_environment(self._cache, start.environment, environment),
            pass_fds=(lifeline,),
        )

    def kill(self, id_: int) -> None:
        """End a task; one that could not be started is no error."""
        if id_ in self._running:
            self._running[id_].child.kill()

    def _ended(self, id_: int, code: int) -> None:
        process = self._running.pop(id_)
        end = self._read_end(process, code)
        trees.remove(process.files)
        self._on_end(id_, end)

    def _read_end(self, process: _Process, code: int) -> TaskEnd:
        result = process.files / "result"
        start, kept = process.start, process.start.result_name
        spoilt = process.sandbox.spoilt()
        try:
            kind, buffers, started, duration_s, use = runner.read_payload(str(result), content=not kept)
            failed = kind == runner.ERROR
            if failed and kept:
                _, buffers, *_ = runner.read_payload(str(result))
        except (OSError, ValueError):
            made, _ = process.sandbox.collect(start.outputs, failed=True)
            words, beside = process.child.words(), process.child.beside
            trouble = self._workspace.trouble()  # which kept it from writing what became of it
            words = f"{trouble}: {words}" if trouble else words
            return TaskEnd(code, words, None, True, 0.0, 0.0, "", made, spoilt, beside)
        payload: Payload = b"" if kept and not failed else buffers[0] if len(buffers) == 1 else buffers
        made, complaint = process.sandbox.collect(start.outputs, failed)
        missing = "" if failed else complaint  # what it raised says more
        if kept and not failed and not missing:
            try:
                entry = self._cache.adopt(kept, result, "workflow")
                made.append((entry.name, entry.size))
            except OSError as error:
                missing = f"its result cannot be kept: {error}"
        reason, known = process.child.reason, use_of(use)
        return TaskEnd(code, reason, payload, failed, started, duration_s, missing, made, spoilt, used=known)

    def pid_of(self, id_: int) -> int | None:
        """The process of a task; None: it has ended, or is just beginning."""
        process = self._running.get(id_)
        return None if process is None else process.child.pid

    def measure(self, id_: int, suspicious_mb: float) -> Resources:
        """What a task uses now: memory of all its processes (see ``memory_use.memory_mb``), disk in its sandbox."""
        process = self._running.get(id_)
        if process is None or process.child.pid is None:  # it has ended, or is just beginning
            return Resources()
        disk = process.sandbox.disk_bytes() + process.child.output_bytes()
        return Resources(memory=memory_use.memory_mb(process.child.pid, suspicious_mb), disk=disk / _MB)

    def look(self, now: float) -> None:
        """Call it from time to time: see ``Zygotes.look``."""
        self._zygotes.look(now)

    def close(self) -> None:
        """Kill what runs."""
        self._zygotes.close()
        for process in self._running.values():
            if isinstance(process.child, Child):
                process.child.end()
        self._running.clear()


def variables_of(sandbox: Path, temporary: Path) -> dict[str, str]:
    """Variables that name directories of a task. Its temporary files are not in its sandbox, where its user's are."""
    return {"VINE_SANDBOX": str(sandbox), "PWD": str(sandbox), "TMPDIR": str(temporary)}


def after(init_command: str, words: list[str]) -> list[str]:
    """The command that runs some shell text, which ends with ``&&`` or ``;``, and then becomes ``words``."""
    return ["/bin/sh", "-c", f"{init_command} exec {shlex.join(words)}"] if init_command else words


def in_environment(cache: Cache, environment: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Variables with which the commands of an unpacked environment are found first; empty: there is none."""
    if not environment:
        return dict(variables)
    place = os.fspath(cache.mounted(environment) / "bin")
    return {**variables, "PATH": os.pathsep.join([place, variables.get("PATH", os.defpath)])}


def python_of(environment: Path) -> str:
    """The interpreter of an unpacked environment."""
    return os.fspath(environment / "bin" / "python")
