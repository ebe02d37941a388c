"""The files that the submit side has declared: gives them names, at once or by a process of its own. Decides nothing.

While a declaration waits for its names, nothing that was said after it may be heard: it may name those files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence

import msgspec

from trellis.executors.taskvine.embedded.child_process import Child
from trellis.executors.taskvine.embedded.manager import events, naming
from trellis.executors.taskvine.embedded.manager.manager_files import Origin
from trellis.executors.taskvine.embedded.manager.naming import Named
from trellis.transport.service import Loop
from trellis.wire.codec import Payload
from trellis.wire.vine import FileSpec

logger = logging.getLogger("trellis.vine.manager")


class Declarations:
    """Owned by the manager's one thread.

    Args:
        declared: told of files that have names now, and whether somebody had to wait for them.
    """

    def __init__(self, loop: Loop, origin: Origin, declared: Callable[[events.FilesDeclared, bool], None]) -> None:
        self._loop = loop
        self._origin = origin
        self._declared = declared
        self._by_name: dict[str, FileSpec] = {}
        self._named: dict[str, Named] = {}
        self._child: Child | None = None
        self._waiting: tuple[Sequence[FileSpec], Sequence[Payload]] = ((), ())

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a declaration waits for its names."""
        return self._child is not None

    def level(self, name: str) -> str:
        return self._by_name[name].level

    def named(self, name: str) -> Named:
        """What is known of a file that was declared."""
        return self._named[name]

    # -- changes -----------------------------------------------------------------------------------------------

    def declare(self, specs: Sequence[FileSpec], contents: Sequence[Payload]) -> None:
        """``declared`` is called now, or when the names are known."""
        slow = [spec for spec in specs if naming.takes_long(spec)]
        if not slow:
            self._note(specs, contents, {}, False)
            return
        self._waiting = (specs, contents)
        spool = self._origin.spool
        command = naming.command(slow, spool, spool / "names")
        self._child = Child(
            self._loop, command, spool / "naming.log", self._on_named, cwd=spool, environment=os.environ
        )

    def forget(self, names: Iterable[str]) -> None:
        """Nobody needs these any more."""
        for name in names:
            self._by_name.pop(name, None)
            self._named.pop(name, None)
            self._origin.forget(name)

    def close(self) -> None:
        if self._child is not None:
            self._child.end()

    def _on_named(self, child: Child, code: int) -> None:
        self._child = None
        specs, contents = self._waiting
        self._waiting = ((), ())
        answers: dict[int, Named] = {}
        slow = [spec for spec in specs if naming.takes_long(spec)]
        try:
            found = naming.read_answers(self._origin.spool / "names")
            answers = {spec.id: named for spec, named in zip(slow, found, strict=True)}
        except (OSError, ValueError, msgspec.MsgspecError):
            logger.error("files could not be named: %s", child.words())
            answers = {spec.id: _lost(spec, child.words()) for spec in slow}  # its tasks fail for it
        self._note(specs, contents, answers, True)

    def _note(
        self, specs: Sequence[FileSpec], contents: Sequence[Payload], answers: dict[int, Named], waited: bool
    ) -> None:
        names, sizes = [], []
        for spec, content in zip(specs, contents, strict=True):
            named = answers.get(spec.id)
            if named is None:
                named = self._name(spec, content)
            names.append(named.name)
            sizes.append(named.size)
            self._by_name[named.name] = spec
            self._named[named.name] = named
            self._origin.declare(spec, named)
        self._declared(events.FilesDeclared(specs, names, sizes), waited)

    def _name(self, spec: FileSpec, content: Payload) -> Named:
        try:
            return naming.name_file(spec, self._origin.spool, content)
        except OSError as error:  # its tasks fail for it
            logger.error("file %s cannot be declared: %s", spec.source or spec.id, error)
            return _lost(spec, str(error))


def _lost(spec: FileSpec, reason: str) -> Named:
    return Named(f"{spec.kind}-lost-{spec.id}", error=f"{spec.source or spec.kind}: {reason}")
