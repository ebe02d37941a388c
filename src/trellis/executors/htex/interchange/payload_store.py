"""What tasks carry, and who has got their functions, at the interchange. Bytes that nobody opens here; no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from trellis.errors import BadMessage
from trellis.executors.common.known_functions import KnownFunctions
from trellis.wire.codec import Buffer, Payload, encode_header, pack, unpack
from trellis.wire.messages import DefineFunctions, Demand, Tasks

# A message that a manager refuses may have come on a connection that broke just then; not so often.
MOST_REFUSALS = 3


class TaskPayloads:
    """Kept of each task until it has ended: it may have to be sent once more.

    Args:
        bring: what is sent to managers that are far in place of a payload.
    """

    def __init__(self, bring: Callable[[Payload], Payload] = lambda payload: payload) -> None:
        self._bring = bring
        self._far: set[str] = set()
        self._refusals: Counter[int] = Counter()  # by managers, of tasks that have not ended
        self._functions = KnownFunctions()
        self._tasks: dict[int, tuple[int, Payload, float]] = {}  # function, arguments, walltime
        self._demands: dict[int, Demand] = {}  # of tasks that have one

    def __len__(self) -> int:
        """Tasks."""
        return len(self._tasks)

    # -- from the submit side ----------------------------------------------------------------------------------

    def add_functions(self, message: DefineFunctions, frames: list[Buffer]) -> None:
        self._functions.define(message.ids, unpack(message.sizes, frames))

    def forget_functions(self, ids: list[int]) -> list[tuple[str, list[int]]]:
        """Gives the managers that have to be told, with what they know."""
        return self._functions.forget(ids)

    def add_tasks(self, message: Tasks, frames: list[Buffer]) -> None:
        """Raises:
        BadMessage: it names functions that nobody has defined, or tasks that are here.
        """
        ids = message.ids
        arguments = unpack(message.sizes, frames)
        unknown = self._functions.undefined(message.functions)
        if unknown:
            raise BadMessage(f"tasks of functions that were not defined: {sorted(unknown)[:10]}")
        if len(set(ids)) < len(ids) or not self._tasks.keys().isdisjoint(ids):
            raise BadMessage("tasks that are here already")
        walltimes_s = message.walltimes_s or [0.0] * len(ids)
        self._tasks.update(zip(ids, zip(message.functions, arguments, walltimes_s, strict=True), strict=True))
        if message.demands is not None:
            pairs = zip(ids, message.demands, strict=True)
            self._demands.update((id_, demand) for id_, demand in pairs if demand is not None)

    def drop(self, ids: Iterable[int]) -> None:
        """Let go of what ended tasks carried."""
        for id_ in ids:
            self._tasks.pop(id_, None)
        if self._demands:
            for id_ in ids:
                self._demands.pop(id_, None)
        if self._refusals:
            for id_ in ids:
                self._refusals.pop(id_, None)

    def refused(self, ids: Iterable[int]) -> list[int]:
        """A manager has refused a message with these; gives those that are to be tried no more.

        The others go alone from now on. More than once, since the first time it may have been the connection's fault.
        """
        self._refusals.update(ids)
        return [id_ for id_ in ids if self._refusals[id_] >= MOST_REFUSALS]

    # -- to managers -------------------------------------------------------------------------------------------

    def welcome(self, manager: str, far: bool = False) -> None:
        """Note a manager that may get tasks. ``far``: it cannot open this host's files."""
        self._functions.add_peer(manager)
        if far:
            self._far.add(manager)

    def lose(self, manager: str) -> None:
        self._functions.remove_peer(manager)
        self._far.discard(manager)

    def doubt(self, manager: str) -> None:
        """Note that a manager's connection broke: what was sent last may never have arrived."""
        self._functions.doubt(manager)

    def tasks_for(self, manager: str, ids: list[int]) -> Iterator[list[Buffer]]:
        """The tasks as a message, and before it one with functions, if need be."""
        alone = [id_ for id_ in ids if id_ in self._refusals] if self._refusals and len(ids) > 1 else []
        for id_ in alone:
            yield from self.tasks_for(manager, [id_])
        if alone:
            ids = [id_ for id_ in ids if id_ not in self._refusals]
            if not ids:
                return
        functions, arguments, walltimes_s = zip(*[self._tasks[id_] for id_ in ids], strict=True)
        definitions = self._functions.definitions_for(manager, functions)
        if definitions is not None:
            yield definitions
        sizes, frames = pack(map(self._bring, arguments) if manager in self._far else arguments)
        demands = list(map(self._demands.get, ids)) if self._demands else ()
        header = Tasks(
            ids,
            list(functions),
            sizes,
            None,
            list(walltimes_s) if any(walltimes_s) else None,
            list(demands) if any(demands) else None,
        )
        yield [encode_header(header), *frames]
