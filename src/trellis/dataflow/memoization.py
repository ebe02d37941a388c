"""Which calls need not run, because the same call has run or is running. How calls are told apart: ``memo_keys``."""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

from trellis.core.foreign import overridden
from trellis.core.kinds import Flag
from trellis.core.missing import Missing
from trellis.core.parameters import CHECKPOINT_KINDS
from trellis.core.validation import check, check_all, knows_former_names
from trellis.core.values import Span
from trellis.dataflow.checkpoint import (
    CheckpointWriter,
    Record,
    dump_result,
    load_all_checkpoints,
    load_checkpoints,
    load_result,
)
from trellis.dataflow.memo_keys import RememberedCall, memo_key, task_key
from trellis.dataflow.memo_values import by_pickle, id_for_memo
from trellis.errors import BadCheckpoint, ConfigurationError, NoDataFlowKernelError

__all__ = ["BasicMemoizer", "Memoizer", "id_for_memo", "make_hash", "memo_key"]

# Parsl's names, for memoizers and handlers of users' own.
id_for_memo_pickle = by_pickle
id_for_memo_list = id_for_memo_tuple = id_for_memo_dict = id_for_memo_function = id_for_memo

logger = logging.getLogger(__name__)

CHECKPOINT_MODES = (None, "task_exit", "periodic", "dfk_exit", "manual")
_DEFAULT_PERIOD = "00:30:00"
# A loaded result up to this size stays in memory after its first use: reading it again costs more than keeping it.
_KEEP_LIMIT_BYTES = 64 * 1024


def make_hash(task: RememberedCall) -> str:
    """The key of a task's call, for memoizers of users' own; its arguments must be final."""
    return task_key(task)


class CheckpointCommand(
    Missing, was="tells a memoizer's thread to write", instead="call checkpoint() of the memoizer or of the kernel"
): ...


class MemoTask(RememberedCall, Protocol):
    """The part of a task record that memoizers use."""

    memoize: bool
    hashsum: str | None


class Memoizer(ABC):
    """Decides which tasks need not run. A memoizer may be started and closed any number of times."""

    @abstractmethod
    def start(self, *, run_dir: str, config_run_dir: str) -> None:
        """Get ready for a run.

        Args:
            run_dir: this run's own directory.
            config_run_dir: the directory that has the directories of all runs.
        """

    @abstractmethod
    def check_memo(self, task: Any) -> Future[Any] | None:
        """A future for the task's result, or None when the task has to run.

        Called from any thread for every task, when its arguments are final; ``task["memoize"]`` says whether its app
        has ``cache=True``. What it raises becomes the task's failure. The kernel never cancels or completes the future.
        """

    @abstractmethod
    def update_memo_result(self, task: Any, result: Any) -> None:
        """The task has succeeded, also by ``check_memo``; called before its own future is completed."""

    @abstractmethod
    def update_memo_exception(self, task: Any, exception: BaseException) -> None:
        """The task has failed for good or was cancelled, possibly without ever having been checked."""

    @abstractmethod
    def close(self) -> None:
        """The run is over."""


class _InFlight:
    """A call that is running, and the future that the calls like it wait for."""

    __slots__ = ("future", "task")

    def __init__(self, task: MemoTask) -> None:
        self.task = task
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()  # several tasks wait for it: none of them may cancel it


class _Run:
    """What a memoizer knows in one run. The table lock guards all but the writer; the writer has its own."""

    def __init__(self, run_dir: str, loaded: dict[str, Record]) -> None:
        self.loaded = loaded
        self.results: dict[str, Future[Any]] = {}
        self.in_flight: dict[str, _InFlight] = {}
        self.recorded: set[str] = set()  # in the checkpoint, or in unwritten
        self.unwritten: dict[str, tuple[str, Future[Any] | Record]] = {}  # key to name of the app, and the result
        self.writer = CheckpointWriter(run_dir)
        self.writer_lock = threading.Lock()
        self.closed = False  # guarded by writer_lock
        self.write_failed = False
        self.unpicklable: set[str] = set()  # apps that were warned of
        self.closing = threading.Event()
        self.timer: threading.Thread | None = None


class BasicMemoizer(Memoizer):
    """Remembers results for the length of a run, and in checkpoints for later runs.

    Calls are the same when function, arguments and the contents of input files are the same; a function counts with
    its byte code, defaults, captured variables and the functions of its module that it refers to. Equal calls that
    are made while the first one runs wait for it and share its outcome. A failure is not remembered: the next call
    runs again.

    Args:
        checkpoint_files: checkpoint directories (see ``get_all_checkpoints``, ``get_last_checkpoint``) whose results
            are used. None: those of all runs in ``Config.run_dir`` when there is a ``checkpoint_mode``, else none.
        checkpoint_period: ``"HH:MM:SS"`` between two checkpoints of mode ``"periodic"``; half an hour by default.
        checkpoint_mode: when results are written: ``"task_exit"`` each at once, ``"periodic"``, ``"dfk_exit"`` at the
            end of the run, ``"manual"`` whenever ``checkpoint()`` is called. All modes write what is left at the end.
            None: only when ``checkpoint()`` is called.
        memoize: False switches all of it off, ``cache=True`` of apps included.
        hash_code: False lets functions count by module and name only, so that edits of the code, and a new version of
            Python, keep old results. For single functions see ``memo_key``.

    Raises:
        ConfigurationError: a parameter has an impossible value.
        ParameterTypeError: a parameter has the wrong type.
    """

    @knows_former_names()
    def __init__(
        self,
        *,
        checkpoint_files: Sequence[str | os.PathLike[str]] | None = None,
        checkpoint_period: str | None = None,
        checkpoint_mode: str | None = None,
        memoize: bool = True,
        hash_code: bool = True,
    ) -> None:
        owner = type(self).__name__
        self.checkpoint_files = checkpoint_files
        self.checkpoint_mode = checkpoint_mode
        self.checkpoint_period = checkpoint_period
        self.memoize = memoize
        self.hash_code = hash_code
        check_all(self, {**CHECKPOINT_KINDS, "memoize": Flag(), "hash_code": Flag()})
        if checkpoint_period is not None and checkpoint_mode != "periodic":
            logger.warning("checkpoint_period has no effect: checkpoint_mode is %r, not 'periodic'", checkpoint_mode)
        if checkpoint_period is None and checkpoint_mode == "periodic":
            self.checkpoint_period = _DEFAULT_PERIOD
        self._period_s: int = check(owner, "checkpoint_period", self.checkpoint_period or _DEFAULT_PERIOD, Span())
        self._lock = threading.Lock()
        self._run: _Run | None = None

    # -- the run ---------------------------------------------------------------------------------------------------

    def start(self, *, run_dir: str, config_run_dir: str) -> None:
        """Load what there is, and remember nothing else.

        Raises:
            BadCheckpoint: a file of ``checkpoint_files`` cannot be used.
            ConfigurationError: the memoizer is in use by another kernel.
        """
        if self._run is not None:
            raise ConfigurationError(
                "a memoizer serves one kernel at a time: close the other one, or make a second one"
            )
        self.run_dir, self.config_run_dir = run_dir, config_run_dir
        run = _Run(run_dir, self._load(config_run_dir))
        if run.loaded:
            logger.info("Results of %d earlier calls are at hand", len(run.loaded))
        self._run = run
        if self.checkpoint_mode == "periodic" and self.memoize:
            run.timer = threading.Thread(target=self._write_periodically, args=(run,), name="Checkpoint", daemon=True)
            run.timer.start()

    def _load(self, config_run_dir: str) -> dict[str, Record]:
        if not self.memoize:
            return {}
        if self.checkpoint_files is not None:
            return load_checkpoints(self.checkpoint_files)
        return load_all_checkpoints(config_run_dir) if self.checkpoint_mode is not None else {}

    def close(self) -> None:
        """Write what is left and forget everything. Does nothing when the memoizer is not started."""
        with self._lock:
            run, self._run = self._run, None
            if run is None:
                return
            left_open = list(run.in_flight.values())
            run.in_flight.clear()
        run.closing.set()
        if run.timer is not None:
            run.timer.join()
        if self.checkpoint_mode is not None:
            self._write_or_warn(run)
        with run.writer_lock:
            run.closed = True
            run.writer.close()
        for entry in left_open:  # nobody shall wait for ever
            entry.future.set_exception(CancelledError())

    def _write_periodically(self, run: _Run) -> None:
        while not run.closing.wait(self._period_s):
            self._write_or_warn(run)

    # -- tasks -----------------------------------------------------------------------------------------------------

    def make_hash(self, task: MemoTask) -> str:
        """The key of a call; a subclass may say otherwise what makes two calls the same."""
        return task_key(task, hash_code=self.hash_code)

    def check_memo(self, task: MemoTask) -> Future[Any] | None:
        run = self._run
        if run is None or not self.memoize or not task.memoize:
            task.hashsum = None
            return None
        key = task.hashsum = self.make_hash(task)
        if not isinstance(key, str):
            raise TypeError(f"{type(self).__name__}.make_hash must give a text, not {key!r}")
        while True:
            with self._lock:
                if (known := run.results.get(key)) is not None:
                    return known
                if (entry := run.in_flight.get(key)) is not None:
                    return None if entry.task is task else entry.future  # the same task: a retry
                record = run.loaded.get(key)
                if record is None:
                    run.in_flight[key] = _InFlight(task)
                    return None
            loaded = self._read(run, record)
            if loaded is not None:
                self._reuse(run, task, record, loaded)
                return loaded

    def _read(self, run: _Run, record: Record) -> Future[Any] | None:
        try:
            result = load_result(record.read())
        except Exception as error:  # unpickling runs code of the user's classes
            logger.warning(
                "A result in checkpoint %s cannot be used, its task runs again: %s: %s",
                *(record.path, type(error).__name__, error),
            )
            with self._lock:
                run.loaded.pop(record.key, None)
            return None
        return _done(result)

    def _reuse(self, run: _Run, task: MemoTask, record: Record, loaded: Future[Any]) -> None:
        with self._lock:
            if record.size_bytes <= _KEEP_LIMIT_BYTES:
                run.results[record.key] = loaded
            # A run's checkpoint holds all results that the run used: the last checkpoint alone is enough for the next.
            self._record(run, record.key, task.func_name, record)
        if self.checkpoint_mode == "task_exit":
            self._write_or_warn(run, [record.key], sync=False)

    def update_memo_result(self, task: MemoTask, result: Any) -> None:
        run, key = self._run, task.hashsum
        if run is None or key is None:
            return
        with self._lock:
            entry = self._release(run, key, task)
            if entry is None:  # it was itself given a remembered result
                return
            done = run.results[key] = _done(result)
            self._record(run, key, task.func_name, done)
        entry.future.set_result(result)
        if self.checkpoint_mode == "task_exit":
            self._write_or_warn(run, [key], sync=False)

    def update_memo_exception(self, task: MemoTask, exception: BaseException) -> None:
        run, key = self._run, task.hashsum
        if run is None or key is None:
            return
        with self._lock:
            entry = self._release(run, key, task)
        if entry is not None:
            entry.future.set_exception(exception)

    @staticmethod
    def _release(run: _Run, key: str, task: MemoTask) -> _InFlight | None:
        entry = run.in_flight.get(key)
        if entry is None or entry.task is not task:
            return None
        return run.in_flight.pop(key)

    @staticmethod
    def _record(run: _Run, key: str, func_name: str, result: Future[Any] | Record) -> None:
        if key not in run.recorded:
            run.recorded.add(key)
            run.unwritten[key] = (func_name, result)

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def checkpoint(self, tasks: Iterable[MemoTask] | None = None) -> str:
        """Write the results that are not in the checkpoint of this run yet, and see them safely on disk.

        Args:
            tasks: write only the results of these.

        Returns:
            The checkpoint's directory, as ``checkpoint_files`` takes it.

        Raises:
            OSError: they could not be written; the next checkpoint tries again.
            NoDataFlowKernelError: the memoizer is not started.
        """
        run = self._run
        if run is None:
            raise NoDataFlowKernelError("there is nothing to checkpoint: no kernel has started this memoizer")
        self._write(run, None if tasks is None else {task.hashsum for task in tasks})
        os.makedirs(run.writer.directory, exist_ok=True)  # also when there was nothing to write
        return run.writer.directory

    def _write(self, run: _Run, keys: Iterable[str | None] | None = None, sync: bool = True) -> None:
        """Write unwritten results; those that a failure leaves over stay unwritten."""
        with run.writer_lock:
            if run.closed:
                return
            with self._lock:
                wanted = list(run.unwritten) if keys is None else keys
                todo = [(key, *run.unwritten[key]) for key in wanted if key in run.unwritten]
            for key, func_name, result in todo:
                payload = _payload(run, func_name, result)
                if payload is not None:
                    run.writer.append(key, payload)
                with self._lock:
                    del run.unwritten[key]
            if sync:
                run.writer.sync()

    def _write_or_warn(self, run: _Run, keys: Iterable[str] | None = None, sync: bool = True) -> None:
        try:
            self._write(run, keys, sync)
        except (OSError, BadCheckpoint) as error:
            if not run.write_failed:
                run.write_failed = True
                logger.error("Results cannot be written to the checkpoint; tasks go on without: %s", error)


# Of Parsl's memoizers, in this release and in others; what they do is done in other ways here.
_NEVER_CALLED = (
    "_checkpoint_these_tasks",
    "_load_checkpoints",
    "_update_checkpoint",
    "_update_memo",
    "check_memo_table",
    "checkpoint_one",
    "checkpoint_queue",
    "hash_lookup",
    "id_for_memo",
    "load_checkpoints",
    "update_checkpoint",
    "update_memo",
)


def bypassed(memoizer: Memoizer) -> str:
    """What a user has to know of overrides that nothing calls; empty if there are none."""
    names = overridden(memoizer, _NEVER_CALLED) if isinstance(memoizer, BasicMemoizer) else []
    if not names:
        return ""
    return (
        f"memoizer {type(memoizer).__name__} overrides {', '.join(names)}, which nothing calls here: "
        "override check_memo, make_hash, update_memo_result or update_memo_exception"
    )


def _payload(run: _Run, func_name: str, result: Future[Any] | Record) -> bytes | None:
    """The pickled result; None, and once per app a warning, when there is none to be had."""
    try:
        return result.read() if isinstance(result, Record) else dump_result(result.result())
    except Exception as error:
        if func_name not in run.unpicklable:
            run.unpicklable.add(func_name)
            logger.warning("Results of %s stay out of the checkpoint: %s: %s", func_name, type(error).__name__, error)
        return None


def _done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future
