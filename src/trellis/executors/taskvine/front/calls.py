"""What becomes of a call: its function, shape, arguments and files, as the manager is told of them.

Any thread asks; the client's thread says when tasks have ended.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trellis.core.interfaces import Attempt
from trellis.core.unmade import Unmade
from trellis.errors import InvalidResourceSpecification, TaskVineTaskFailure
from trellis.executors.common.functions import FunctionTable
from trellis.executors.taskvine.front.client import VineClient
from trellis.executors.taskvine.front.environments import Environments
from trellis.executors.taskvine.front.file_table import FileTable
from trellis.executors.taskvine.front.outstanding_tasks import OutstandingTask, PreparedTask
from trellis.executors.taskvine.front.specification import check_specification, parse_specification
from trellis.executors.taskvine.front.temp_results import ResultHere, TempResult
from trellis.executors.taskvine.library import Library
from trellis.executors.taskvine.manager_config import TaskVineManagerConfig
from trellis.executors.taskvine.remote.runner import RECORDED
from trellis.staging.files import File
from trellis.wire.payload import dump_call
from trellis.wire.vine import LibrarySpec, Mount, Resources, TaskShape

# The library that serverless apps run in when they name none.
DEFAULT_LIBRARY = "trellis-library"
# Of tasks, when ``autocategory`` is off and they name none.
DEFAULT_CATEGORY = "default"


class Calls:
    """What was told to one manager.

    Args:
        client: of the manager.
        config: how tasks are managed.
        default_mode: of tasks that do not say theirs.
        logs: see ``FileTable``.
        same_host: all workers are on this host.
        recorded: what tasks use is to be told.
    """

    def __init__(
        self,
        client: VineClient,
        config: TaskVineManagerConfig,
        default_mode: str,
        logs: str,
        same_host: bool = False,
        recorded: bool = False,
    ) -> None:
        self._same_host = same_host
        self._client = client
        self._config = config
        self._default_mode = default_mode
        self._variables = tuple((config.env_vars or {}).items()) + (((RECORDED, "1"),) if recorded else ())
        self._functions = FunctionTable(client.define, client.forget)
        self._files = FileTable(
            client.declare,
            client.drop_file,
            shared_fs=config.shared_fs,
            peer_transfers=config.enable_peer_transfers,
            logs=logs,
        )
        self._environments = Environments(self._files, config, Path(logs) / "packs")
        self._environment = -1
        self._libraries: dict[str, Library] = {}
        self._results: set[int] = set()  # temps of results that are still to come
        self._shapes: dict[TaskShape, int] = {}
        self._lock = threading.Lock()

    # -- libraries ---------------------------------------------------------------------------------------------

    def install(self, libraries: Sequence[Library]) -> None:
        """Tell of the library that apps run in unless they name another, and of these.

        Raises:
            SerializationError: a context cannot be serialized.
            FileNotFoundError: an input is not there.
            ConfigurationError: an environment cannot be packed.
        """
        self._environment = self._environments.interpreter()
        default = Library(DEFAULT_LIBRARY, **(self._config.library_config or {}))
        for library in (default, *libraries):
            self._libraries[library.name] = library
            context = -1 if library.context is None else self._functions.intern(library.context)
            inputs = self._files.files_of((), {"inputs": list(library.inputs)}).inputs
            if library.context is not None:
                inputs += self._environments.modules(context, library.context)
            spec = LibrarySpec(
                library.name,
                library.exec_mode,
                library.num_slots or 0,
                Resources(library.cores, library.memory, library.disk, library.gpus),
                inputs,
                self._environment,
                self._variables,
                context,
                self._config.init_command,
                library.context_timeout_s,
            )
            arguments = dump_call(library.args, library.kwargs, f"the context of library {library.name}")
            self._client.install(spec, arguments)

    # -- tasks -------------------------------------------------------------------------------------------------

    def task_of(self, attempt: Attempt) -> PreparedTask:
        """Raises:
        InvalidResourceSpecification: what it asks for cannot be.
        TaskVineTaskFailure: there is no such library.
        SerializationError: its function or its arguments cannot be serialized.
        FileNotFoundError: an input is not there.
        """
        resources = attempt.resources or {}
        shape = self._shape(attempt, resources)
        files = self._files.files_of(attempt.args, dict(attempt.kwargs))
        args, kwargs = _mount_results(files.args, files.kwargs, files.inputs)
        number = self._functions.intern(attempt.func)
        try:
            arguments = dump_call(args, kwargs, attempt.name)
            inputs = files.inputs + self._environments.modules(number, attempt.func)
        except BaseException:
            self._functions.release((number,))
            self._files.ended(files.outputs)
            raise
        result_file = -1
        if "temp_output" in resources and check_specification(resources).get("temp_output"):
            result_file = self._files.new("temp")
            self._results.add(result_file)
        attempt.executor_id = self._client.next_id()
        return PreparedTask(attempt.executor_id, number, shape, arguments, inputs, files.outputs, result_file, attempt)

    def _shape(self, attempt: Attempt, resources: Mapping[str, Any]) -> int:
        config = self._config
        category = getattr(attempt.func, "__name__", attempt.name) if config.autocategory else DEFAULT_CATEGORY
        shape = parse_specification(
            resources,
            walltime_s=attempt.walltime_s,
            default_mode=self._default_mode,
            default_category=category,
            default_library=DEFAULT_LIBRARY,
            max_retries=config.max_retries,
            environment=self._environment,
            variables=self._variables,
            init_command=config.init_command,
        )
        if shape.library and shape.library not in self._libraries:
            known = ", ".join(self._libraries)
            raise TaskVineTaskFailure(
                f"{attempt.name}: there is no library {shape.library}; there are {known}", "missing_library"
            )
        if shape.library:
            _check_gpus(attempt.name, shape.resources.gpus or 0, self._libraries[shape.library])
        with self._lock:
            number = self._shapes.get(shape)
            if number is None:
                number = self._shapes[shape] = len(self._shapes)
                self._client.define_shape(number, shape)
        return number

    # -- on the client's thread --------------------------------------------------------------------------------

    def kept(self, held: OutstandingTask, value: Any) -> Any:
        """A task with files has ended well: what its future gets.

        Raises:
            OSError: a file that came home cannot be put where it belongs.
        """
        self._files.came_home(held.outputs)
        if held.result_file < 0:
            return _as_unmade(held.attempt, value, self._same_host)
        self._results.discard(held.result_file)
        result = TempResult(held.result_file, self._client.fetch)
        weakref.finalize(result, self._client.drop_file, held.result_file).atexit = False
        return result

    def ended(self, tasks: Sequence[OutstandingTask]) -> None:
        """Tasks have their outcomes."""
        self._functions.release([held.function for held in tasks])
        for held in tasks:
            if held.outputs:
                self._files.ended(held.outputs)
            if held.result_file in self._results:  # there was none
                self._results.discard(held.result_file)
                self._client.drop_file(held.result_file)

    def close(self) -> None:
        """The manager has ended."""
        self._files.close()


def _check_gpus(call: str, wanted: float, library: Library) -> None:
    """Raises:
    InvalidResourceSpecification: a call asks for more than its library has: it gets what that has, and nothing else.
    """
    if wanted > (library.gpus or 0):
        raise InvalidResourceSpecification(
            {"gpus"},
            f"{call} asks for {wanted:g} as a call of library {library.name}, which has {library.gpus or 0:g}: give it "
            "as many (library_config={'gpus': …}, or Library(gpus=…)), or use exec_mode 'regular'",
        )


def _mount_results(
    args: tuple[Any, ...], kwargs: dict[str, Any], mounts: list[Mount]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Results that stay at the workers are read there."""

    def placed(value: Any) -> Any:
        if not isinstance(value, TempResult):
            return value
        path = f".result-{value.number}"
        mounts.append(Mount(value.number, path))
        return ResultHere(path)

    return tuple([placed(value) for value in args]), {name: placed(value) for name, value in kwargs.items()}


def _as_unmade(attempt: Attempt, value: Any, same_host: bool) -> Any:
    """The result, with what is missing of the outputs that should have come home.

    Absolute paths are where the task ran: that they are missing is known of this host only.
    """
    outputs = [output for output in attempt.kwargs.get("outputs") or () if isinstance(output, File)]
    missing = [
        position
        for position, file in enumerate(outputs)
        if file.scheme == "file"
        and (same_host or not os.path.isabs(file.filepath))
        and not os.path.exists(file.filepath)
    ]
    return Unmade(value, tuple(missing)) if missing else value
