"""The directory that makes ``import parsl`` find Trellis, in processes that are told of it. Only names it.

Its path ends the same wherever Trellis is, so it is known among a program's import paths. It has to come before what
is installed, and workers add import paths behind that; so they are told of it by PYTHONPATH, as the programs that tasks
start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

_TRELLIS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_END = os.path.join("trellis", "as_parsl", "on_path")
ALIAS_PATH = os.path.join(_TRELLIS, "as_parsl", "on_path")


def is_alias_path(path: str) -> bool:
    """Whether this is the directory, in this Trellis or in one that is elsewhere."""
    return path.endswith(os.sep + _END)


def as_here(paths: Iterable[str]) -> list[str]:
    """The import paths of a program that may run on another host, with the directory where it is on this one."""
    return [ALIAS_PATH if is_alias_path(path) else path for path in paths]


def variables_of(paths: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell a new process of the directory when it is among ``paths``."""
    if not any(map(is_alias_path, paths)):
        return {}
    others = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and not is_alias_path(path)]
    return {"PYTHONPATH": os.pathsep.join([ALIAS_PATH, *others])}
