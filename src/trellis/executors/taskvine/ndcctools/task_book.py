"""Tasks on their way through the real TaskVine: made from what the submit side sends, read when they have ended.

Knows no sockets. Everything that a task needs goes to TaskVine as buffers: nothing is written to disk here.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trellis.executors.taskvine.ndcctools import mapping, mounts
from trellis.executors.taskvine.ndcctools.adapter import TaskVine
from trellis.executors.taskvine.ndcctools.file_book import FileBook
from trellis.executors.taskvine.ndcctools.library_book import LibraryBook
from trellis.executors.taskvine.ndcctools.member import NO_CONTEXT, NO_TIME, encode, event
from trellis.executors.taskvine.ndcctools.temp_book import MOST_REMAKINGS, TempBook, maker_of
from trellis.executors.taskvine.ndcctools.waiting import WorkerNeed
from trellis.executors.taskvine.remote import fit, guard, runner
from trellis.executors.taskvine.task_use import use_of
from trellis.wire.codec import Payload, payload_buffers
from trellis.wire.measures import TaskUse
from trellis.wire.payload import loads
from trellis.wire.vine import ON_IMPORT_PATH, LibrarySpec, Mount, TaskShape, VineTaskFailed

# A task that its worker could not end is started again, see ``guard``. That it happens twice is rare.
_MOST_STARTS = 10
# What tasks are told to have come to, by the kind of their result.
_ENDS = {guard.TOO_MUCH_MEMORY: "resource_exhaustion", guard.NO_FILE: "output_transfer_error"}


class NewTask(NamedTuple):
    """A task to be added, as in ``VineTasks``."""

    id: int
    function: int
    shape: int
    arguments: Payload
    inputs: Sequence[Mount]
    outputs: Sequence[Mount]
    result_file: int


class Done(NamedTuple):
    """A task that ran to its end."""

    id: int
    address: str  # of its worker, as TaskVine says it
    failed: bool
    started: float
    duration_s: float
    payload: Payload
    used: TaskUse | None = None  # when that was measured


class _Held(NamedTuple):
    new: NewTask
    task: Any
    report: Any  # buffer with its result, or with the head of one that stays at the worker
    buffers: list[Any]  # that are of no use when it has ended
    library: str
    starts: int = 1
    reads: frozenset[int] = frozenset()  # temporary files
    makes: frozenset[int] = frozenset()
    limit_s: float = 0.0  # of a call


class KnownTask(NamedTuple):
    """What is known of a task that has not ended, for people who ask."""

    id: int
    number: int  # TaskVine's
    need: WorkerNeed
    category: str
    library: str  # of a call; else empty
    priority: float


class TaskBook:
    """Every task that is added ends in one ``Done`` or one ``VineTaskFailed``.

    Args:
        vine: where tasks run.
        files: of the submit side.
        libraries: that calls run in.
        import_paths: of the user's program.
        runner_source: text of the runner.
        category_mode: how TaskVine learns what a category needs; empty: it does not.
    """

    def __init__(
        self,
        vine: TaskVine,
        files: FileBook,
        libraries: LibraryBook,
        import_paths: Sequence[str],
        runner_source: bytes,
        category_mode: str,
    ) -> None:
        self._vine = vine
        self._files = files
        self._libraries = libraries
        self._import_paths = import_paths
        self._category_mode = category_mode
        self._categories: set[str] = set()
        self._runner = vine.buffer(runner_source, "workflow")
        self._guard = vine.buffer(Path(guard.__file__).read_bytes(), "workflow")
        self._fit = vine.buffer(Path(fit.__file__).read_bytes(), "workflow")
        self._functions: dict[int, bytes] = {}
        self._function_files: dict[int, Any] = {}
        self._packs: dict[int, list[Mount]] = {}  # by function, of those that tasks have named
        self._shapes: dict[int, tuple[TaskShape, list[mapping.Call]]] = {}
        self._held: dict[int, _Held] = {}  # by TaskVine's number
        self._numbers: dict[int, int] = {}  # TaskVine's, by ours
        self._temps = TempBook()
        self._by_shape: Counter[int] = Counter()  # tasks that have not ended
        self._made_by: dict[int, frozenset[int]] = {}  # temporary files, by TaskVine's number of who made them

    def __len__(self) -> int:
        return len(self._held)

    # -- definitions -------------------------------------------------------------------------------------------

    def define(self, number: int, data: Payload) -> None:
        self._functions[number] = b"".join(payload_buffers(data))

    def forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._functions.pop(number, None)
            self._packs.pop(number, None)
            file = self._function_files.pop(number, None)
            if file is not None:
                self._vine.drop(file)

    def define_shape(self, number: int, shape: TaskShape) -> None:
        self._shapes[number] = (shape, mapping.task_calls(shape, self._import_paths))

    def _function_file(self, number: int) -> Any:
        file = self._function_files.get(number)
        if file is None:
            data = encode(runner.CALL, (self._functions[number],))
            file = self._function_files[number] = self._vine.buffer(data, "workflow")
        return file

    # -- tasks -------------------------------------------------------------------------------------------------

    def announce(self, tasks: Iterable[NewTask]) -> list[str]:
        """Prepare for tasks that will be added: libraries that are made for the first of them know what all need.

        Gives what the user should know of them.
        """
        warnings = []
        for new in tasks:
            self._packs[new.function] = [mount for mount in new.inputs if mount.path == ON_IMPORT_PATH]
            warnings.append(self._libraries.warn(self._shapes[new.shape][0].library))
        return [*filter(None, warnings)]

    def add(self, new: NewTask, starts: int = 1) -> VineTaskFailed | None:
        """Give it to TaskVine; or the reason why that cannot be. ``starts``: how often, with this time."""
        if new.shape not in self._shapes:
            return VineTaskFailed(new.id, "unknown", f"it was refused: its shape {new.shape} was not declared")
        shape, calls = self._shapes[new.shape]
        complaint = self._libraries.complaint(shape.library) if shape.library else ""
        if complaint:
            return VineTaskFailed(new.id, "missing_library", complaint)
        try:
            problem = self._problem(new, shape)
            if problem:
                return VineTaskFailed(new.id, "input_missing", problem)
            held = self._new_call(new, shape) if shape.mode == "serverless" else self._new_regular(new, shape)
            for name, values in calls:
                getattr(held.task, name)(*values)
            self._label(shape.category)
            number = self._vine.submit(held.task)
        except (ValueError, TypeError, OSError, KeyError) as error:
            return VineTaskFailed(new.id, "unknown", f"TaskVine does not take it: {type(error).__name__}: {error}")
        reads, makes = self._temps_of(new)
        self._by_shape[new.shape] += 1
        self._held[number] = held._replace(starts=starts, reads=reads, makes=makes)
        self._numbers[new.id] = number
        self._temps.added(new.id, reads, makes)
        return None

    def _problem(self, new: NewTask, shape: TaskShape) -> str:
        """Why TaskVine could never run it; empty when it can.

        Raises:
            KeyError: nobody has declared a file of it.
            ValueError: two inputs are in the same place.
        """
        reads, _ = self._temps_of(new)
        missing = [self._files.name(file) for file in self._temps.missing(reads)]
        if missing:
            return f"{', '.join(missing)}: no worker has it, and no task makes it"
        problem = self._files.problem(mount.file for mount in new.inputs)
        paths = mounts.placed(new.inputs, self._files.spec)
        return problem or mounts.complaint(paths, new.outputs, call=shape.mode == "serverless")

    def _temps_of(self, new: NewTask) -> tuple[frozenset[int], frozenset[int]]:
        """Temporary files that it reads, and that it makes."""
        reads = {mount.file for mount in new.inputs if self._files.spec(mount.file).kind == "temp"}
        makes = {mount.file for mount in new.outputs if self._files.spec(mount.file).kind == "temp"}
        return frozenset(reads), frozenset(makes | ({new.result_file} if new.result_file >= 0 else set()))

    def _label(self, category: str) -> None:
        if self._category_mode and category not in self._categories:
            self._categories.add(category)
            self._vine.label_category(category, self._category_mode)

    def _new_regular(self, new: NewTask, shape: TaskShape) -> _Held:
        stays = new.result_file >= 0
        measured = bool(self._category_mode)
        task = self._vine.new_task(mapping.regular_command(shape, new.inputs, new.outputs, stays, measured))
        arguments = self._vine.buffer(encode(runner.CALL, payload_buffers(new.arguments)))
        report = self._vine.buffer(None)
        task.add_input(self._guard, mapping.GUARD)
        task.add_input(self._runner, mapping.RUNNER)
        task.add_input(self._function_file(new.function), mapping.FUNCTION)
        task.add_input(arguments, mapping.ARGUMENTS)
        if shape.environment >= 0:
            # A link: an environment has thousands of files.
            task.add_input(self._files.get(shape.environment), mapping.ENVIRONMENT, mount_symlink=True)
            task.add_input(self._fit, mapping.FIT)
        task.add_output(report, mapping.REPORT if stays else mapping.RESULT)
        self._mount(task, new, mapping.RESULT)
        return _Held(new, task, report, [arguments, report], "")

    def _new_call(self, new: NewTask, shape: TaskShape) -> _Held:
        libraries, library, function = self._libraries, shape.library, new.function
        libraries.install(library, self._functions, self._packs, self._fit)
        task = self._vine.new_task(libraries.FUNCTION)
        packs = [] if libraries.has(library, function) else self._packs.get(function, [])
        inline, beside = libraries.how_to_send(library, function, self._functions[function], bool(packs))
        stays = new.result_file >= 0
        data = event(
            function,
            inline,
            payload_buffers(new.arguments),
            mapping.FUNCTION if beside else "",
            [mapping.pack_path(mount) for mount in packs],
            mapping.RESULT if stays else "",
            [mount.path for mount in new.outputs],
            shape.time_max_s,
        )
        arguments, report = self._vine.buffer(data), self._vine.buffer(None)
        task.add_input(arguments, "infile")
        if beside:
            task.add_input(self._function_file(function), mapping.FUNCTION)
        task.add_output(report, "outfile")
        self._mount(task, new, mapping.RESULT)
        return _Held(new, task, report, [arguments, report], library, limit_s=shape.time_max_s)

    def _mount(self, task: Any, new: NewTask, result: str) -> None:
        for path, mount in mounts.placed(new.inputs, self._files.spec).items():
            # Links to packages: they may have thousands of files, and stay loaded when the sandbox is gone.
            task.add_input(self._files.get(mount.file), path, mount_symlink=mount.path == ON_IMPORT_PATH)
        for mount in new.outputs:
            task.add_output(self._files.get(mount.file), mount.path)
        if new.result_file >= 0:
            task.add_output(self._files.get(new.result_file), result)

    def cancel(self, ids: Iterable[int]) -> None:
        for id_ in ids:
            number = self._numbers.get(id_)
            if number is not None:
                self._vine.cancel(number)

    def calls_of(self, library: str) -> list[int]:
        """Calls of a library that have not ended."""
        return [held.new.id for held in self._held.values() if held.library == library]

    # -- for people who ask ------------------------------------------------------------------------------------

    def known(self, id_: int) -> KnownTask | None:
        """A task that has not ended."""
        number = self._numbers.get(id_)
        return None if number is None else self._known(number, self._held[number])

    def all(self) -> list[KnownTask]:
        """All tasks that have not ended."""
        return [self._known(number, held) for number, held in self._held.items()]

    def is_call(self, number: int) -> bool | None:
        """Whether the task of this number of TaskVine's is one; None: it is none of ours, or has ended."""
        held = self._held.get(number)
        return None if held is None else bool(held.library)

    def id_of(self, number: int) -> int:
        """Our number of a task that has not ended."""
        return self._held[number].new.id

    def makers(self, id_: int) -> dict[str, KnownTask]:
        """Temporary files that a task reads and that are not there yet, and the task that makes each."""
        makers = self._temps.makers(self._held[self._numbers[id_]].reads)
        found = {file: self.known(maker) for file, maker in makers.items()}
        return {self._files.name(file): maker for file, maker in found.items() if maker is not None}

    def installed(self) -> list[str]:
        """Names of the libraries that calls have named."""
        return self._libraries.installed()

    def library(self, name: str) -> LibrarySpec | None:
        return self._libraries.spec(name)

    def library_trouble(self, name: str) -> str:
        return self._libraries.trouble(name)

    def _known(self, number: int, held: _Held) -> KnownTask:
        shape, _ = self._shapes[held.new.shape]
        return KnownTask(held.new.id, number, self._need(held.new.shape), shape.category, held.library, shape.priority)

    def needs(self) -> dict[int, WorkerNeed]:
        """What tasks that have not ended need of workers, by shape."""
        return {number: self._need(number) for number, count in self._by_shape.items() if count}

    def _need(self, number: int) -> WorkerNeed:
        shape, _ = self._shapes[number]
        if shape.mode == "serverless":
            what, resources = f"library {shape.library}", self._libraries.resources(shape.library)
        else:
            what, resources = f"tasks of {shape.category}", shape.resources
        return WorkerNeed(what, resources, shape.features, shape.time_min_s)

    def has(self, id_: int) -> bool:
        """Whether it has not ended."""
        return id_ in self._numbers

    def drop_files(self, ids: Iterable[int]) -> None:
        """Nobody will name these any more."""
        self._temps.forget(ids)
        self._files.drop(ids)

    # -- ends --------------------------------------------------------------------------------------------------

    def give_up(self, id_: int, status: str, reason: str) -> list[VineTaskFailed]:
        """End it, and all that wait for what it makes; say no more of them when they have ended."""
        number = self._numbers.pop(id_)
        held = self._held.pop(number)
        self._by_shape[held.new.shape] -= 1
        self._vine.cancel(number)
        return [VineTaskFailed(id_, status, reason), *self._give_up_readers(held, False)]

    def _give_up_readers(self, held: _Held, well: bool) -> list[VineTaskFailed]:
        """A task has ended: give up those that wait for what nobody makes any more."""
        stuck = self._temps.ended(held.new.id, held.reads, held.makes, well)
        return self._give_up_all(stuck, held.makes, "the task that makes it has failed")

    def _give_up_all(self, ids: Iterable[int], files: Iterable[int], reason: str) -> list[VineTaskFailed]:
        names = ", ".join(self._files.name(file) for file in sorted(files))
        ends: list[VineTaskFailed] = []
        for id_ in ids:
            if id_ in self._numbers:
                ends += self.give_up(id_, "input_missing", f"{names}: {reason}")
        return ends

    def lost_temps(self, words: str) -> tuple[frozenset[int], list[VineTaskFailed]]:
        """What TaskVine wrote: temporary files that it makes again in vain, and what that means for their readers."""
        files: frozenset[int] = frozenset()
        for name in self._temps.hopeless(words):
            number = maker_of(name, self._vine.task_graph())
            files |= self._made_by.pop(number, frozenset()) if number is not None else frozenset()
        reason = f"its workers are gone, and the task that had made it made it {MOST_REMAKINGS} times in vain"
        return files, self._give_up_all(self._temps.lost(files), files, reason)

    def ended(self, task: Any) -> list[Done | VineTaskFailed]:
        """What came of a task that TaskVine gives back, and of others with it; nothing of one that was given up."""
        held = self._held.pop(task.id, None)
        if held is None:
            return []
        self._numbers.pop(held.new.id, None)
        self._by_shape[held.new.shape] -= 1
        end = self._read_call(held) if held.library else self._read_regular(held)
        for buffer in held.buffers:
            self._vine.drop(buffer)
        if mapping.has_not_started(task.std_output or "") and held.starts < _MOST_STARTS:
            refused = self.add(held.new, held.starts + 1)
            return [] if refused is None else [refused]
        well = isinstance(end, Done) and not end.failed
        if well and held.makes:
            self._made_by[task.id] = held.makes
        return [end, *self._give_up_readers(held, well)]

    def _read_regular(self, held: _Held) -> Done | VineTaskFailed:
        content = held.report.contents() or b""
        if held.new.result_file >= 0 and content[:1] == runner.RESULT:  # the head of what stays there
            _, _, started, duration_s, *use = runner._HEAD.unpack(content)
            content = encode(runner.RESULT, (b"",), started, duration_s, tuple(use))
        return self._read(held, content)

    def _read_call(self, held: _Held) -> Done | VineTaskFailed:
        content = held.report.contents() or b""
        answer = loads(content) if content else {}
        if not answer.get("Success"):
            failed = self._failed(held, str(answer.get("Reason") or ""))
            if held.limit_s and failed.exit_code == -signal.SIGALRM:
                return self._out_of_time(held)
            return failed
        return self._read(held, answer["Result"])

    def _read(self, held: _Held, content: bytes) -> Done | VineTaskFailed:
        task = held.task
        try:
            kind, buffers, started, duration_s, use = runner.parse_payload(content)
        except ValueError:
            return self._failed(held, "")
        if kind == NO_CONTEXT:
            words = bytes(buffers[0]).decode(errors="replace")
            return VineTaskFailed(held.new.id, "missing_library", f"library {held.library} has no context: {words}")
        if kind == NO_TIME:
            return self._out_of_time(held)
        if kind in _ENDS:
            return VineTaskFailed(held.new.id, _ENDS[kind], bytes(buffers[0]).decode(errors="replace"))
        failed = kind == runner.ERROR
        if failed or task.result == "success":
            if held.library:
                self._libraries.worked(held.library)
            payload = buffers[0] if len(buffers) == 1 else buffers
            return Done(held.new.id, task.addrport or "", failed, started, duration_s, payload, use_of(use))
        missing = self._files.missing(mount.file for mount in held.new.outputs)
        return self._failed(held, f"missing: {', '.join(missing)}" if missing else "")

    @staticmethod
    def _out_of_time(held: _Held) -> VineTaskFailed:
        return VineTaskFailed(held.new.id, "max_wall_time", f"it was ended after {held.limit_s:g} s")

    @staticmethod
    def _failed(held: _Held, what: str) -> VineTaskFailed:
        task = held.task
        failure = mapping.failure_of(task.result, task.exit_code, task.std_output or "", what)
        return VineTaskFailed(held.new.id, failure.status, failure.reason, failure.exit_code)
