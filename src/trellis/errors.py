"""Every public exception of Trellis, in one tree. Nothing here does any work.

Names follow Parsl; where Trellis knows more about a failure (host, exit code, what to try) the message says it.
An exception that travels between processes keeps its constructor arguments in ``args``, so that it pickles.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from trellis.core.users_errors import describe, text_of


class TrellisError(Exception):
    """Root of all exceptions that Trellis defines."""


# Parsl's programs catch this name.
ParslError = TrellisError


# -- configuration ---------------------------------------------------------------------------------------------


class ConfigurationError(TrellisError):
    """A configuration cannot work; the message names the parameter and what to try."""


class ParameterTypeError(ConfigurationError, TypeError):
    """A parameter has the wrong type; raised when the object is made, or outcome of a call that was given it."""


class ParameterValueError(ConfigurationError, ValueError):
    """A parameter has a value that cannot work; raised as ``ParameterTypeError`` is."""


class OptionalModuleMissing(TrellisError):
    """Something needs a package that is not installed."""

    def __init__(self, module_names: list[str], reason: str) -> None:
        super().__init__(module_names, reason)
        self.module_names = module_names
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} (install {', '.join(self.module_names)} to use it)"


class NotInTrellis(TrellisError, NotImplementedError):
    """Something of Parsl's was used that Trellis does not have (yet); the message says what to do instead."""


class InternalConsistencyError(TrellisError):
    """Trellis contradicts itself: a defect in Trellis, please report it."""


class NoDataFlowKernelError(TrellisError):
    """An app was called, or the kernel asked for, before ``trellis.load()``."""


# -- apps ------------------------------------------------------------------------------------------------------


class AppException(TrellisError):
    """Something went wrong in running an app, outside the user's own code."""


class AppBadFormatting(TrellisError):
    """A bash app's command line could not be composed."""


class BashExitFailure(AppException):
    """A bash app's command ended with a non-zero exit code.

    ``command`` is what was run, shortened; ``stderr`` where its standard error is and how it ends; ``meaning`` what the
    exit code says; ``hint`` what else was wrong, or where to look: each empty if nothing is known.
    """

    def __init__(
        self, app_name: str, exitcode: int, command: str = "", stderr: str = "", meaning: str = "", hint: str = ""
    ) -> None:
        super().__init__(app_name, exitcode, command, stderr, meaning, hint)
        self.app_name = app_name
        self.exitcode = exitcode
        self.command = command
        self.stderr = stderr
        self.meaning = meaning
        self.hint = hint

    def __str__(self) -> str:
        meaning = f", {self.meaning}" if self.meaning else ""
        command = f" (command: {self.command})" if self.command else ""
        more = "".join(f"; {words}" for words in (self.stderr, self.hint) if words)
        return f"bash app {self.app_name} ended with exit code {self.exitcode}{meaning}{command}{more}"


class AppTimeout(AppException):
    """An app ran for longer than its walltime."""


class TaskExited(AppException):
    """A task called ``sys.exit()``, or raised something else that ends programs and that ``except Exception`` misses.

    What it raised is the ``__cause__``.
    """

    def __init__(self, task: str, raised: str) -> None:
        super().__init__(task, raised)
        self.task = task
        self.raised = raised

    def __str__(self) -> str:
        return f"{self.task} ended with {self.raised}: raise an Exception in it, or return a value, to end a task"


class BashAppNoReturn(AppException):
    """A bash app's function gave no command line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MissingOutputs(TrellisError):
    """Files named in ``outputs`` did not exist when the app had ended."""

    def __init__(self, reason: str, outputs: Sequence[Any]) -> None:
        super().__init__(reason, outputs)
        self.reason = reason
        self.outputs = list(outputs)

    def __str__(self) -> str:
        return f"{self.reason}; missing: {', '.join(str(output) for output in self.outputs)}"


class BadStdStreamFile(TrellisError, ValueError):
    """``stdout`` or ``stderr`` of a call names no file, or one that could not be opened."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RemoteTraceback(Exception):
    """Text of a traceback from another process; it is the ``__cause__`` of the exception that came from there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(AppException):
    """Stands in for a remote exception that could not be brought here; names its type, message and traceback."""

    def __init__(self, type_name: str, message: str, traceback_text: str) -> None:
        super().__init__(type_name, message, traceback_text)
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}\n{self.traceback_text}"


# -- data flow -------------------------------------------------------------------------------------------------


class DataFlowException(TrellisError):
    """Something went wrong in the data-flow kernel."""


class BadCheckpoint(DataFlowException):
    """A checkpoint that was asked for cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PropagatedException(DataFlowException):
    """A task could not succeed because tasks that it needs have failed.

    ``dependent_exceptions_tids`` holds a pair (exception, description of the failed task) for each of them.
    ``__cause__`` is the failure at the far end of the first of them: a traceback shows that, not every link between.
    """

    _what = "task"

    def __init__(self, dependent_exceptions_tids: Sequence[tuple[BaseException, str | None]], task_id: int) -> None:
        super().__init__(dependent_exceptions_tids, task_id)
        self.dependent_exceptions_tids = list(dependent_exceptions_tids)
        self.task_id = task_id
        if self.dependent_exceptions_tids:
            first = self.dependent_exceptions_tids[0][0]
            self.__cause__ = first.__cause__ if isinstance(first, PropagatedException) else first

    def root_causes(self) -> list[tuple[BaseException, str | None]]:
        """The failures at the far ends of the chain, each once."""
        found: dict[int, tuple[BaseException, str | None]] = {}
        seen: set[int] = set()
        todo = list(reversed(self.dependent_exceptions_tids))
        while todo:
            exception, name = todo.pop()
            if id(exception) in seen:
                continue
            seen.add(id(exception))
            if isinstance(exception, PropagatedException):
                todo.extend(reversed(exception.dependent_exceptions_tids))
            else:
                found[id(exception)] = (exception, name)
        return list(found.values())

    def __str__(self) -> str:
        roots = [f"{name or 'a future'}: {describe(e)}" for e, name in self.root_causes()]
        shown = "; ".join(roots[:3]) + (f"; and {len(roots) - 3} more" if len(roots) > 3 else "")
        return f"{self._what} {self.task_id} failed because of {shown}"


class DependencyError(PropagatedException):
    """A task was not run because something it depends on has failed. Never retried."""

    _what = "dependencies of task"


class JoinError(PropagatedException):
    """A future returned by a join app's body has failed."""

    _what = "join app, task"


# -- executors -------------------------------------------------------------------------------------------------


class ExecutorError(TrellisError):
    """Something went wrong in an executor; ``executor`` is its label or the executor itself."""

    def __init__(self, executor: Any, reason: str) -> None:
        super().__init__(getattr(executor, "label", executor), reason)
        self.executor = executor
        self.reason = reason

    def __str__(self) -> str:
        return f"executor {self.args[0]}: {self.reason}"


class BadStateException(ExecutorError):
    """The executor has failed for good; ``exception`` says why. No task can run on it any more."""

    def __init__(self, executor: Any, exception: BaseException) -> None:
        super().__init__(executor, text_of(exception))
        self.exception = exception
        self.__cause__ = exception


class UnsupportedFeatureError(ExecutorError):
    """A feature was asked of an executor that does not have it."""

    def __init__(self, feature: str, current_executor: str, target_executor: str = "") -> None:
        super().__init__(current_executor, f"{feature} is not supported")
        self.feature = feature
        self.current_executor = current_executor
        self.target_executor = target_executor


class InvalidResourceSpecification(ExecutorError, ValueError):
    """A resource specification has keys or values that the executor does not take."""

    def __init__(self, invalid_keys: Iterable[str], message: str = "") -> None:
        self.invalid_keys = set(invalid_keys)
        self.message = message
        keys = ", ".join(sorted(map(repr, self.invalid_keys)))
        super().__init__("", f"invalid resource specification {keys}. {message}".strip())

    def __str__(self) -> str:
        return self.reason

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.invalid_keys, self.message))


class ScalingFailed(ExecutorError):
    """A block could not be started."""


class BadMessage(TrellisError):
    """A message that breaks the wire protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ManagerLost(TrellisError):
    """The manager that ran a task is gone."""

    def __init__(self, manager_id: bytes | str, hostname: str, reason: str = "") -> None:
        super().__init__(manager_id, hostname, reason)
        self.manager_id = manager_id
        self.hostname = hostname
        self.reason = reason

    def __str__(self) -> str:
        name = self.manager_id.decode(errors="replace") if isinstance(self.manager_id, bytes) else self.manager_id
        return f"manager {name} on {self.hostname} is lost: {self.reason or 'its connection closed'}"


class WorkerLost(TrellisError):
    """The worker process that ran a task died."""

    def __init__(self, worker_id: int | str, hostname: str, reason: str = "") -> None:
        super().__init__(worker_id, hostname, reason)
        self.worker_id = worker_id
        self.hostname = hostname
        self.reason = reason

    def __str__(self) -> str:
        return f"worker {self.worker_id} on {self.hostname} died: {self.reason or 'for an unknown reason'}"


class MemoryLimitExceeded(TrellisError):
    """A task used more memory than it had asked for, and was ended."""

    def __init__(self, task_name: str, limit_mb: float, peak_mb: float) -> None:
        super().__init__(task_name, limit_mb, peak_mb)
        self.task_name = task_name
        self.limit_mb = limit_mb
        self.peak_mb = peak_mb

    def __str__(self) -> str:
        return (
            f"{self.task_name} used {self.peak_mb:.0f} MB, more than the {self.limit_mb:.0f} MB that it may use: "
            "ask for more with the resource specification's key 'memory'"
        )


class InterchangeLost(TrellisError):
    """The interchange process of an HighThroughputExecutor died; the message has its exit status and last words."""


class VersionMismatch(TrellisError):
    """A manager speaks another protocol than the interchange."""

    def __init__(self, interchange_version: str, manager_version: str) -> None:
        super().__init__(interchange_version, manager_version)
        self.interchange_version = interchange_version
        self.manager_version = manager_version

    def __str__(self) -> str:
        return f"interchange has {self.interchange_version}, manager has {self.manager_version}"


class CommandClientTimeoutError(TrellisError):
    """The interchange did not answer a command in time."""


class CommandClientBadError(TrellisError):
    """A command to the interchange was sent after the connection had failed."""


class TooManyJobFailuresError(TrellisError):
    """So many blocks of an executor have failed that more of them make no sense."""


# What TaskVine's result codes are called here, and their numbers there.
TASKVINE_STATUS = {
    "input_missing": 1,
    "output_missing": 2,
    "stdout_missing": 4,
    "signal": 1 << 3,
    "resource_exhaustion": 2 << 3,
    "max_end_time": 3 << 3,
    "unknown": 4 << 3,
    "forsaken": 5 << 3,
    "max_retries": 6 << 3,
    "max_wall_time": 7 << 3,
    "monitor_error": 8 << 3,
    "output_transfer_error": 9 << 3,
    "fixed_location_missing": 10 << 3,
    "cancelled": 11 << 3,
    "library_exit": 12 << 3,
    "sandbox_exhaustion": 13 << 3,
    "missing_library": 14 << 3,
}


class TaskVineTaskFailure(AppException):
    """A task that TaskVine ran, or could not run, has no result.

    ``result`` says why by name (a key of ``TASKVINE_STATUS``), ``status`` by TaskVine's number.
    """

    def __init__(self, reason: str, status: int | str) -> None:
        super().__init__(reason, status)
        self.reason = reason
        if isinstance(status, str):
            self.result, self.status = status, TASKVINE_STATUS[status]
        else:
            names = [name for name, number in TASKVINE_STATUS.items() if number == status]
            self.result, self.status = names[0] if names else "unknown", status

    def __str__(self) -> str:
        return self.reason


class TaskVineManagerFailure(TrellisError):
    """The manager process of a TaskVineExecutor died; the message has its exit status and last words."""


class TaskVineFactoryFailure(TrellisError):
    """The factory of a TaskVineExecutor died, or cannot start workers; the message has its last words."""


# -- providers and launchers -----------------------------------------------------------------------------------


class ExecutionProviderException(TrellisError):
    """Something went wrong between Trellis and a batch system."""


class ScaleOutFailed(ExecutionProviderException):
    """A provider could not start a block."""

    def __init__(self, provider: Any, reason: str) -> None:
        super().__init__(getattr(provider, "label", provider), reason)
        self.provider = provider
        self.reason = reason

    def __str__(self) -> str:
        return f"provider {self.args[0]} cannot start a block: {self.reason}"


class SchedulerMissingArgs(ExecutionProviderException):
    """A provider lacks an argument that its site demands."""

    def __init__(self, missing_keywords: Sequence[str], sitename: str) -> None:
        super().__init__(missing_keywords, sitename)
        self.missing_keywords = missing_keywords
        self.sitename = sitename

    def __str__(self) -> str:
        return f"{self.sitename} needs {', '.join(self.missing_keywords)}"


class ScriptPathError(ExecutionProviderException):
    """A batch script could not be written."""

    def __init__(self, script_path: str, reason: object) -> None:
        super().__init__(script_path, reason)
        self.script_path = script_path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot write script {self.script_path}: {self.reason}"


class SubmitException(ExecutionProviderException):
    """A batch system refused a job."""

    def __init__(
        self,
        job_name: str,
        message: str,
        stdout: str | None = None,
        stderr: str | None = None,
        retcode: int | None = None,
    ) -> None:
        super().__init__(job_name, message, stdout, stderr, retcode)
        self.job_name = job_name
        self.message = message
        self.stdout = stdout
        self.stderr = stderr
        self.retcode = retcode

    @property
    def task_name(self) -> str:
        """Parsl's older name for ``job_name``."""
        warnings.warn("SubmitException.task_name is now job_name", DeprecationWarning, stacklevel=2)
        return self.job_name

    def __str__(self) -> str:
        parts = [f"cannot submit job {self.job_name}: {self.message}"]
        if self.retcode is not None:
            parts.append(f"exit code {self.retcode}")
        parts += [
            f"{name}: {text.strip()}" for name, text in (("stdout", self.stdout), ("stderr", self.stderr)) if text
        ]
        return "; ".join(parts)


class BadLauncher(ExecutionProviderException, TypeError):
    """A provider's launcher is not a Launcher."""

    def __init__(self, launcher: object) -> None:
        super().__init__(launcher)
        self.launcher = launcher

    def __str__(self) -> str:
        try:
            given = repr(self.launcher)[:200]
        except Exception:
            given = type(self.launcher).__name__
        return f"launcher is not a Launcher: {given} (pass for example launcher=SingleNodeLauncher())"


# -- serialization ---------------------------------------------------------------------------------------------


class SerializationError(TrellisError):
    """A function, an argument or a result could not be turned into bytes; ``fname`` says which."""

    def __init__(self, fname: str, reason: str = "") -> None:
        super().__init__(fname, reason)
        self.fname = fname
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot serialize {self.fname}" + (f": {self.reason}" if self.reason else "")


class DeserializationError(TrellisError):
    """Bytes could not be turned back into an object."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot deserialize: {self.reason}"


class DeserializerPluginError(DeserializationError):
    """Bytes carry the mark of a serializer that is not known here."""

    def __init__(self, header: bytes) -> None:
        super().__init__(f"no deserializer is registered for header {header!r}")
        self.header = header

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.header,))


# -- staging ---------------------------------------------------------------------------------------------------


class ZipAuthorityError(TrellisError):
    """A zip: URL names a host, which it cannot have."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.file = file

    def __str__(self) -> str:
        return f"a zip: URL names no host, but this one does: {self.file}"
