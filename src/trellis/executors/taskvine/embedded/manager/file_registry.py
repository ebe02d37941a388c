"""The files that the submit side has declared, by the names under which workers keep them. Values only, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from trellis.wire.vine import FileSpec, GetFile


class Named(msgspec.Struct):
    """A file as workers will know it."""

    name: str
    size: int = -1  # bytes; -1: not known
    unpack: bool = False
    path: str = ""  # where its content is; empty: not on this host
    fit: bool = False  # as in ``FileSpec``
    version: str = ""  # of a URL: which state of it this is; of a file named by its content: when that was read
    error: str = ""  # why it has no content


class FileRegistry:
    """Several declarations may be of one name, when their content is the same: the last one counts."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[FileSpec, Named]] = {}
        self._here: set[str] = set()  # those whose content is on the manager's host

    def declare(self, specs: Sequence[FileSpec], named: Sequence[Named]) -> None:
        for spec, name in zip(specs, named, strict=True):
            self._files[name.name] = (spec, name)
            if name.path:
                self._here.add(name.name)

    def forget(self, names: Iterable[str]) -> None:
        """Nobody needs these any more."""
        for name in names:
            self._files.pop(name, None)
            self._here.discard(name)

    def came_home(self, name: str) -> None:
        """The content of an output is on this host now."""
        self._here.add(name)

    def is_here(self, name: str) -> bool:
        """Whether workers can get the content from this host."""
        return name in self._here

    def level(self, name: str) -> str:
        return self._files[name][0].level

    def describe(self, name: str) -> tuple[str, str]:
        """Name for people, and kind, of a file that may be forgotten already."""
        if name not in self._files:
            return name, "file"
        spec, _ = self._files[name]
        kind = "environment" if spec.fit else "task output" if spec.made else spec.kind
        return spec.source or name, kind

    def order(self, name: str, source: str, level: str, size: int) -> GetFile:
        """What tells a worker to get a file from there."""
        spec, named = self._files[name]
        version = named.version if spec.kind == "url" else ""
        return GetFile(name, source, level, size, named.unpack, named.fit, version)
