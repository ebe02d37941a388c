"""The attempts without an outcome, and what they carry: kept until they end, so that it can be sent once more.

Any thread makes what a new attempt carries; all else is done by one thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from msgspec.structs import astuple

from trellis.core.interfaces import Attempt, Outcome
from trellis.core.measurements import TaskSample
from trellis.core.reports import Begun
from trellis.executors.base import outermost
from trellis.executors.common.functions import FunctionTable
from trellis.executors.common.sinks import deliver, tell_begun
from trellis.executors.htex.submit.outcomes import failure, outcomes_of
from trellis.executors.htex.submit.task_messages import TaskPayload
from trellis.transport.shared_files import Arguments, delete, is_large, is_reference
from trellis.wire.codec import Payload
from trellis.wire.measures import TaskSamples
from trellis.wire.messages import Demand, Results, TasksRunning
from trellis.wire.payload import dump_call


class Outstanding:
    """What the executor owes.

    Args:
        label: the executor's.
        shared_dir: where large payloads are files; None: nowhere.
        define: told of each function and its bytes, before the first attempt that has it.
        forget: told of functions that no attempt has or will have.
    """

    def __init__(
        self,
        label: str,
        shared_dir: str | None,
        define: Callable[[int, bytes], None],
        forget: Callable[[list[int]], None],
    ) -> None:
        self._label = label
        self._ids = itertools.count()
        self._functions = FunctionTable(define, forget)
        self._files = None if shared_dir is None else Arguments(shared_dir)
        self._shared_dir = shared_dir
        self._attempts: dict[int, Attempt] = {}  # each with its TaskPayload as note
        self._begun: dict[int, Begun] = {}  # where those run that were said to
        self._references: dict[int, bytes] = {}  # to the arguments of tasks that went into files

    # -- any thread --------------------------------------------------------------------------------------------

    def prepare(self, attempt: Attempt, priority: float, demand: Demand | None) -> None:
        """Give it a number, and note what it carries: from now on it is owed an outcome.

        Raises:
            SerializationError: its function or its arguments cannot be serialized.
        """
        number = self._functions.intern(attempt.func)
        id_ = next(self._ids)
        try:
            arguments = dump_call(attempt.args, attempt.kwargs, attempt.name, snapshot=self._files is None)
            if self._files is not None and is_large(arguments):
                arguments = self._as_file(id_, self._files, arguments)
        except BaseException:
            self._functions.release((number,))
            raise
        attempt.executor_note = TaskPayload(number, arguments, priority, demand)
        attempt.executor_id = id_
        self._attempts[id_] = attempt

    def __len__(self) -> int:
        return len(self._attempts)

    def futures(self) -> dict[int, Future[Any]]:
        """The futures of all attempts that there are now, by number."""
        found = self._attempts.copy()
        return {id_: attempt.future for id_, attempt in found.items() if attempt.future is not None}

    def _as_file(self, id_: int, files: Arguments, arguments: Payload) -> Payload:
        reference = files.write(arguments)
        if reference is None:  # no room: through the sockets, as a copy of what belongs to the caller
            return tuple(map(bytes, arguments)) if type(arguments) is tuple else arguments
        self._references[id_] = reference
        return reference

    # -- the owner ---------------------------------------------------------------------------------------------

    def get(self, ids: Iterable[int]) -> list[Attempt]:
        return [self._attempts[id_] for id_ in ids]

    @property
    def functions(self) -> dict[int, bytes]:
        """All that attempts may have, for an interchange that knows nothing."""
        return self._functions.definitions()

    def resolve(
        self,
        message: Results,
        payloads: Sequence[Payload],
        ids: Iterable[int],
        positions: Iterable[int],
        where: tuple[str, str],
    ) -> None:
        """Tasks have ended; ``positions``: where in the report; ``where``: host and block of the manager."""
        attempts = [self._take(id_) for id_ in ids]
        outcomes = outcomes_of(message, payloads, positions, where, self._shared_dir)
        self._functions.release([attempt.executor_note.function for attempt in attempts])
        deliver(zip(attempts, outcomes, strict=True))

    def begun(self, message: TasksRunning, where: tuple[str, str]) -> None:
        """Tasks run; ``where``: host and block of the manager. What was said already is not passed on again."""
        hostname, block = where
        news: list[tuple[Attempt, Begun]] = []
        for id_, worker, started in zip(message.ids, message.workers, message.started, strict=True):
            attempt = self._attempts.get(id_)
            if attempt is not None and id_ not in self._begun:
                begun = self._begun[id_] = Begun(hostname, block, message.manager, worker, started)
                news.append((attempt, begun))
        tell_begun(news)

    def samples(self, message: TaskSamples) -> list[TaskSample]:
        """What was seen of the tasks that have not ended here."""
        pairs = zip(message.ids, message.samples, strict=True)
        seen = ((self._attempts.get(id_), sample) for id_, sample in pairs)
        return [
            TaskSample(outermost(attempt), message.at, *astuple(sample))
            for attempt, sample in seen
            if attempt is not None
        ]

    def where_it_runs(self, id_: int) -> Begun | None:
        """Where a task runs; None: that was not said, or it does not."""
        return self._begun.get(id_)

    def discard(self, payloads: Iterable[Payload]) -> None:
        """Results that do not count: nobody will read their files, which may be gone."""
        if self._shared_dir is not None:
            for payload in payloads:
                if is_reference(payload):
                    delete(payload, self._shared_dir)

    def fail(self, ids: Iterable[int], cause: object) -> None:
        """Tasks have failed; ``cause``: what was reported of them."""
        attempts = [self._take(id_) for id_ in ids]
        self._functions.release([attempt.executor_note.function for attempt in attempts])
        deliver([(attempt, Outcome(None, failure(cause, attempt, self._label))) for attempt in attempts])

    def _take(self, id_: int) -> Attempt:
        if self._references:
            reference = self._references.pop(id_, None)
            if reference is not None and self._files is not None:
                self._files.delete(reference)
        if self._begun:
            self._begun.pop(id_, None)
        return self._attempts.pop(id_)
