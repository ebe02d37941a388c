"""What a TaskVine worker's protocol object asks of the service around it. Plain values.

Each that begins something ends with a call of the protocol object, when that has come to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trellis.executors.taskvine.embedded.worker.events import Exit
from trellis.executors.taskvine.embedded.worker.orders import LibraryStart, TaskStart
from trellis.wire.codec import Buffer
from trellis.wire.vine import FileChunk, GetFile, SendFile

# -- tasks and libraries ---------------------------------------------------------------------------------------


class StartProcess(NamedTuple):
    """Start a task: ``on_process_ended``, or ``on_process_failed`` when it cannot be started."""

    start: TaskStart
    function: Buffer


class KillProcess(NamedTuple):
    """End the process group of a task."""

    id: int


class MeasureTasks(NamedTuple):
    """Say ``on_measured`` for each of these; with each the MB of memory from which on it is measured exactly."""

    tasks: dict[int, float]


class SampleTasks(NamedTuple):
    """Look at what tasks use, and say ``on_sampled``. Fields: see the machine's action."""

    processes: list[int]
    direct: dict[int, int]
    forking: list[int]


class StartLibrary(NamedTuple):
    """Start an instance: ``on_library_ready``, and once ``on_library_ended``."""

    start: LibraryStart


class KillLibrary(NamedTuple):
    """End an instance."""

    instance: int


class SendCall(NamedTuple):
    """Give a call to a library: ``on_call_ended`` or ``on_call_died``, unless the library ends before."""

    instance: int
    start: TaskStart
    function: Buffer


class KillCall(NamedTuple):
    """Have a library end the process of a call."""

    instance: int
    id: int


class ForgetFunctions(NamedTuple):
    """No task names these any more."""

    ids: list[int]


# -- files -----------------------------------------------------------------------------------------------------


class BringFile(NamedTuple):
    """Put a file into the cache: ``on_file_came`` or ``on_file_missing``."""

    order: GetFile


class TakePiece(NamedTuple):
    """A piece of a file has come from the manager, for which somebody may have asked."""

    chunk: FileChunk
    data: Buffer


class ReadPiece(NamedTuple):
    """Read a piece of a file of the cache, or find out why there is none, and say ``on_piece_read``."""

    request: SendFile


class RemoveFiles(NamedTuple):
    """Take these out of the cache."""

    names: list[str]


# -- the rest --------------------------------------------------------------------------------------------------


class ToManager(NamedTuple):
    """Send this to the manager."""

    frames: list[Buffer]


class UseImportPaths(NamedTuple):
    """Tasks and libraries that start from now on look for modules in these directories of the user's, too."""

    paths: Sequence[str]


class LookAround(NamedTuple):
    """Time has passed: look for peers that have fallen silent, and for helpers that hang."""


class Leave(NamedTuple):
    """End everything, say ``leave``, and end."""

    exit: Exit


Effect = (
    StartProcess
    | KillProcess
    | MeasureTasks
    | SampleTasks
    | StartLibrary
    | KillLibrary
    | SendCall
    | KillCall
    | ForgetFunctions
    | BringFile
    | TakePiece
    | ReadPiece
    | RemoveFiles
    | ToManager
    | UseImportPaths
    | LookAround
    | Leave
)
