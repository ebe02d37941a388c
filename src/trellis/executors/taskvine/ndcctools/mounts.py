"""Where the real TaskVine puts files in a task's sandbox: it tries for ever to put one where another one is. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence

from trellis.executors.taskvine.ndcctools import mapping
from trellis.wire.vine import FileSpec, Mount

# TaskVine's own.
_TAKEN = (mapping.OWN, ".taskvine.tmp", ".taskvine.stdout")
_PRINTABLE, _DELETE = 32, 127
_TAKEN_BY_CALLS = (*_TAKEN, "infile", "outfile")


def placed(inputs: Sequence[Mount], spec_of: Callable[[int], FileSpec]) -> dict[str, Mount]:
    """Inputs by where they are put; what comes with a directory is not put there once more.

    Raises:
        KeyError: nobody has declared a file.
        ValueError: two of them cannot be there both; says which.
    """
    by_path = {mapping.mount_path(mount): mount for mount in inputs}
    return {path: mount for path, mount in by_path.items() if not _comes_along(path, by_path, spec_of)}


def _comes_along(path: str, by_path: dict[str, Mount], spec_of: Callable[[int], FileSpec]) -> bool:
    for outer in _above(path):
        if outer not in by_path:
            continue
        inner_spec, outer_spec = spec_of(by_path[path].file), spec_of(by_path[outer].file)
        if not inner_spec.kind == outer_spec.kind == "file" or outer_spec.unpack:
            raise ValueError(f"{path} would be within {outer}, which TaskVine cannot do: give one of them another name")
        if posixpath.join(outer_spec.source, posixpath.relpath(path, outer)) == inner_spec.source:
            return True
        raise ValueError(f"{path} would be within {outer}, which has another one there: give one of them another name")
    return False


def complaint(paths: Iterable[str], outputs: Sequence[Mount], *, call: bool) -> str:
    """Why a task cannot have its files there; empty when it can.

    Args:
        paths: of inputs.
    """
    made = {mount.path for mount in outputs}
    taken = _TAKEN_BY_CALLS if call else _TAKEN
    for path in [*paths, *made]:
        if path.split("/")[0] in taken and not path.startswith(f"{mapping.OWN}/pack-"):
            return f"TaskVine uses the name {path.split('/')[0]} itself{_FOR_CALLS if call else ''}: choose another one"
        if any(ord(letter) < _PRINTABLE or ord(letter) == _DELETE for letter in path):
            return f"TaskVine cannot carry {path!r}: there are control characters in its name"
        outer = next((outer for outer in _above(path) if outer in made and path in made), "")
        if outer:
            return f"the outputs {outer} and {path} are within each other: TaskVine would bring only one of them home"
    return ""


_FOR_CALLS = " for calls of libraries"


def _above(path: str) -> list[str]:
    """The directories that it is in."""
    parts = path.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]
