"""Gives names to declared files: at once, or by a process of its own where that takes long. Decides nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from trellis.executors.taskvine.embedded.child_process import Child
from trellis.executors.taskvine.embedded.manager import naming
from trellis.executors.taskvine.embedded.manager.file_registry import Named
from trellis.transport.service import Loop
from trellis.wire.codec import Payload
from trellis.wire.vine import FileSpec

logger = logging.getLogger("trellis.vine.manager")


class FileNamer:
    """Owned by the manager's one thread. Names the files of one declaration at a time.

    Args:
        spool: directory for what is made of them.
        named: told of the files and their names.
    """

    def __init__(self, loop: Loop, spool: Path, named: Callable[[Sequence[FileSpec], list[Named]], None]) -> None:
        self._loop = loop
        self._spool = spool
        self._named = named
        self._child: Child | None = None

    def name(self, specs: Sequence[FileSpec], contents: Sequence[Payload]) -> None:
        """``named`` is called now, or when the slowest of the names is known."""
        slow = [spec for spec in specs if naming.takes_long(spec)]
        if not slow:
            self._named(specs, self._name_all(specs, contents, {}))
            return
        command = naming.command(slow, self._spool, self._spool / "names")

        def on_end(child: Child, code: int) -> None:
            self._child = None
            self._named(specs, self._name_all(specs, contents, self._answers(slow, child)))

        log = self._spool / "naming.log"
        self._child = Child(self._loop, command, log, on_end, cwd=self._spool, environment=os.environ)

    def close(self) -> None:
        if self._child is not None:
            self._child.end()

    def _answers(self, slow: list[FileSpec], child: Child) -> dict[int, Named]:
        try:
            found = naming.read_answers(self._spool / "names")
            return {spec.id: named for spec, named in zip(slow, found, strict=True)}
        except (OSError, ValueError, msgspec.MsgspecError):
            logger.error("files could not be named: %s", child.words())
            return {spec.id: _lost(spec, child.words()) for spec in slow}  # its tasks fail for it

    def _name_all(self, specs: Sequence[FileSpec], contents: Sequence[Payload], known: dict[int, Named]) -> list[Named]:
        pairs = zip(specs, contents, strict=True)
        return [known.get(spec.id) or self._name(spec, content) for spec, content in pairs]

    def _name(self, spec: FileSpec, content: Payload) -> Named:
        try:
            return naming.name_file(spec, self._spool, content)
        except OSError as error:  # its tasks fail for it
            logger.error("file %s cannot be declared: %s", spec.source or spec.id, error)
            return _lost(spec, str(error))


def _lost(spec: FileSpec, reason: str) -> Named:
    return Named(f"{spec.kind}-lost-{spec.id}", error=f"{spec.source or spec.kind}: {reason}")
