"""The files of the submit side as the real TaskVine knows them. Reads none, but the names in directories."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any

from trellis.executors.taskvine.ndcctools.adapter import TaskVine
from trellis.wire.codec import Payload, payload_buffers
from trellis.wire.vine import FileSpec

# A server that takes longer than this to say that it has a file is believed to have it.
_HEAD_TIMEOUT_S = 5.0
_GONE = (404, 410)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMED_BY_CONTENT = ("worker", "forever")


def problem_of_url(url: str) -> str:
    """What a server says of a file that it does not have; TaskVine's workers would take its words for the file."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_HEAD_TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        with error:  # other codes may be about this question only
            return f"{error.code} {error.reason}" if error.code in _GONE else ""
    except (OSError, ValueError):  # workers may be where it can be reached
        return ""


def own_path(path: str, number: int) -> str:
    """A different way to write an absolute path, for each number.

    TaskVine's name of a file is made of its path, its size and the second of its last change: of two states within
    that second, workers that have the first one would never get the other.
    """
    return f"{number:b}".replace("1", "/.").replace("0", "/") + path


def problem_of_names(path: str) -> str:
    """What in a directory has a name that TaskVine cannot send: the worker would wait for ever for what follows."""
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            if _CONTROL.search(name):
                where = os.path.join(directory, name)
                return f"TaskVine cannot carry {where!r}: there are control characters in its name"
    return ""


class FileBook:
    """Files of TaskVine, by the numbers that the submit side has given them.

    Args:
        vine: where they are declared.
        peer_transfers: whether workers may pass files on at all.
    """

    def __init__(self, vine: TaskVine, peer_transfers: bool) -> None:
        self._vine = vine
        self._peer_transfers = peer_transfers
        self._files: dict[int, Any] = {}
        self._specs: dict[int, FileSpec] = {}
        self._problems: dict[int, str] = {}

    def declare(self, spec: FileSpec, content: Payload) -> None:
        self._specs[spec.id] = spec
        if spec.kind == "url":
            problem = problem_of_url(spec.source)
            if problem:
                self._problems[spec.id] = f"{spec.source}: {problem}"
        if spec.kind == "file" and not spec.made:
            problem = problem_of_names(spec.source)
            if problem:
                self._problems[spec.id] = problem
        file = self._declare(spec, content)
        if spec.unpack and not os.path.isdir(spec.source):
            file = self._vine.untar(file, spec.level)
        self._files[spec.id] = file

    def _declare(self, spec: FileSpec, content: Payload) -> Any:
        peer = spec.peer_transfer and self._peer_transfers
        match spec.kind:
            case "temp":
                return self._vine.temp()
            case "buffer":
                return self._vine.buffer(b"".join(payload_buffers(content)), spec.level)
            case "url":
                return self._vine.url(spec.source, spec.level, peer)
            case _:
                if spec.level not in _NAMED_BY_CONTENT:
                    return self._vine.file(own_path(spec.source, spec.id), spec.level, peer)
                if spec.made:  # it would have the name of what is in its place now
                    return self._vine.file(own_path(spec.source, spec.id), "workflow", peer)
                return self._vine.file(spec.source, spec.level, peer)

    def drop(self, ids: Iterable[int]) -> None:
        """TaskVine keeps what tasks still need."""
        for id_ in ids:
            self._problems.pop(id_, None)
            if self._specs.pop(id_, None) is not None:
                self._vine.drop(self._files.pop(id_))

    def get(self, id_: int) -> Any:
        """Raises:
        KeyError: nobody has declared it.
        """
        return self._files[id_]

    def spec(self, id_: int) -> FileSpec:
        """Raises:
        KeyError: nobody has declared it.
        """
        return self._specs[id_]

    def name(self, id_: int) -> str:
        """What the user calls it."""
        spec = self._specs.get(id_)
        return spec.source if spec is not None and spec.source else "a result that stays at the workers"

    def problem(self, ids: Iterable[int]) -> str:
        """Why tasks with these inputs cannot run; empty when they can."""
        return "; ".join(self._problems[id_] for id_ in ids if id_ in self._problems)

    def missing(self, ids: Iterable[int]) -> list[str]:
        """Paths of those files that are on this host only in name."""
        specs = [self._specs[id_] for id_ in ids if id_ in self._specs]
        return [spec.source for spec in specs if spec.kind == "file" and not os.path.exists(spec.source)]
