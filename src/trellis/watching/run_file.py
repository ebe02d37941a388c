"""``run.json`` in a run's directory: which run it is, by which process, where its socket is, and how it ended.

Written by the program when a run begins and when it ends. Who finds that the program has gone without a word writes so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from trellis.core.users_errors import text_of
from trellis.errors import TrellisError
from trellis.watching.snapshot import AppTasks, RunFacts, as_json

RUN_FILE = "run.json"
# Files that say a higher number are for a later Trellis.
FORMAT = 1
# Of a file that is worth reading: one app takes about 100 B.
_MOST_BYTES = 10_000_000


class RunFileError(TrellisError):
    """A directory has no usable ``run.json``."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended. ``killed``: nobody has seen it end, and its process is gone."""

    how: Literal["cleanup", "killed"]
    at: float  # when it was killed, about
    total: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    apps: Sequence[AppTasks] = ()
    abandoned: int = 0  # of the failed tasks, those that had not ended when the run did


@dataclass(frozen=True, slots=True)
class RunFile:
    """What a ``run.json`` says, and where it is."""

    directory: str  # in which it lies now; the run may have known it by another name
    facts: RunFacts
    boot_id: str  # of the host's present life
    pid_namespace: str  # in which its pid counts
    process_start: int  # ticks since the boot: a pid may be used again
    socket: str  # relative to the directory, or in a private one elsewhere; empty: there is none
    no_socket: str = ""  # why
    end: RunEnd | None = None

    @property
    def socket_path(self) -> str:
        return os.path.join(self.directory, self.socket) if self.socket else ""


def write(run: RunFile) -> None:
    """Put the file in its place, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    content = {"format": FORMAT, **{name: as_json(getattr(run, name)) for name in _WRITTEN}}
    path = os.path.join(run.directory, f".{RUN_FILE}.{os.getpid()}")
    try:
        with open(path, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
        os.replace(path, os.path.join(run.directory, RUN_FILE))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


_WRITTEN = [one.name for one in dataclasses.fields(RunFile) if one.name != "directory"]


def read(directory: str) -> RunFile:
    """What the ``run.json`` of a directory says.

    Raises:
        RunFileError: there is none, or it cannot be read.
    """
    path = os.path.join(directory, RUN_FILE)
    try:
        with open(path, "rb") as file:
            content = msgspec.json.decode(file.read(_MOST_BYTES))
        number = content["format"]
        if number > FORMAT:
            raise RunFileError(f"{path} was written by a later version of Trellis (format {number}): use that one")
        return _run_file(directory, content)
    except FileNotFoundError:
        raise RunFileError(f"{directory} is no run's directory: it has no {RUN_FILE}") from None
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunFileError(f"{path} is damaged ({type(error).__name__}: {text_of(error)})") from error


def _run_file(directory: str, content: Mapping[str, Any]) -> RunFile:
    end = content["end"]
    if end is not None:
        end = RunEnd(**{**_known(RunEnd, end), "apps": [AppTasks(**_known(AppTasks, app)) for app in end["apps"]]})
    facts = RunFacts(**_known(RunFacts, content["facts"]))
    return RunFile(directory, **{**_known(RunFile, content), "facts": facts, "end": end})


def _known(kind: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    """What this version knows of, for one of the classes above."""
    return {one.name: content[one.name] for one in dataclasses.fields(kind) if one.name in content}
