"""Whether what a manager is told can be: lists that belong together are of one length, numbers are in their bounds.

The decoder has checked types; this keeps a sender that is broken from breaking the manager for all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from typing import assert_never

from trellis.errors import BadMessage
from trellis.wire.measures import TaskSamples
from trellis.wire.messages import DefineFunctions, DrainBlocks, ForgetFunctions, Heartbeat, Shutdown
from trellis.wire.vine import (
    KINDS,
    LEVELS,
    CacheFailed,
    CacheUpdated,
    CallsEnded,
    CancelVineTasks,
    DeclareFiles,
    DefineShapes,
    DropFiles,
    FetchFile,
    FileChunk,
    FromVineClient,
    FromVineWorker,
    InstallLibraries,
    LibraryDown,
    LibraryUp,
    RegisterWorker,
    Resources,
    SendFile,
    TaskFailed,
    VineStatusRequest,
    VineTasks,
    WorkerLeaving,
)
from trellis.wire.vine_watching import VineStandingRequest, VineTasksRunning

_MOST_OFFSET = 2**62
# What reads like a name of a log's or a file's own is left to those.
_BAD_NAME = ("/", "\0", "\n", " ")


def check_worker_message(message: FromVineWorker) -> None:
    """Raises:
    BadMessage: no worker can mean it.
    """
    match message:
        case CallsEnded():
            _same_length(message.ids, message.started, message.durations_s, message.sizes)
            if message.used is not None:
                _same_length(message.ids, message.used)
            if message.measured:
                _same_length(message.ids, message.measured)
            if any(not 0 <= position < len(message.ids) for position in message.failed):
                raise BadMessage("the result of a task that it does not name")
            _check_numbers(message.started)
            _check_numbers(message.durations_s)
            for resources in message.measured:
                _check_resources(resources)
        case CacheUpdated():
            _same_length(message.names, message.sizes, message.seconds)
            _check_numbers(message.sizes)
            _check_numbers(message.seconds)
        case SendFile():
            if not 0 <= message.offset < _MOST_OFFSET:
                raise BadMessage(f"a piece at {message.offset}")
        case FileChunk():
            if not (
                message.error or (0 <= message.offset <= message.total < _MOST_OFFSET and 0 <= message.mode < 0o10000)
            ):
                raise BadMessage(f"a piece at {message.offset} of {message.total} bytes")
        case TaskFailed():
            _check_resources(message.measured)
        case LibraryUp():
            if message.slots < 1:
                raise BadMessage(f"a library with {message.slots} slots")
        case RegisterWorker():
            _check_registration(message)
        case VineTasksRunning():
            _same_length(message.ids, message.started)
        case TaskSamples():
            _same_length(message.ids, message.samples)
        case Heartbeat() | CacheFailed() | LibraryDown() | WorkerLeaving() | VineStatusRequest():
            pass
        case _:
            assert_never(message)


def _check_registration(message: RegisterWorker) -> None:
    if not message.worker or any(part in message.worker for part in _BAD_NAME):
        raise BadMessage(f"{message.worker!r} is no name")
    _same_length(message.cached, message.cached_sizes)
    _check_resources(message.resources)
    if any(getattr(message.resources, name) is None for name in ("cores", "memory", "disk", "gpus")):
        raise BadMessage(f"it does not say what it offers: {message.resources}")
    if message.ends_in_s is not None:
        _check_numbers([message.ends_in_s])


def check_client_message(message: FromVineClient) -> None:
    """Raises:
    BadMessage: the submit side cannot mean it.
    """
    match message:
        case VineTasks():
            _same_length(message.ids, message.functions, message.shapes, message.sizes)
            positions = message.inputs.keys() | message.outputs.keys() | message.result_files.keys()
            if any(not 0 <= position < len(message.ids) for position in positions):
                raise BadMessage("files of a task that it does not name")
        case DefineShapes():
            _same_length(message.ids, message.shapes)
        case DeclareFiles():
            _same_length(message.files, message.sizes)
            if any(file.kind not in KINDS or file.level not in LEVELS for file in message.files):
                raise BadMessage("a file of a kind, or kept for a time, that there is not")
        case InstallLibraries():
            _same_length(message.libraries, message.sizes)
            if any(library.slots < 0 for library in message.libraries):
                raise BadMessage("a library with less than no slots")
        case DefineFunctions() | ForgetFunctions() | DropFiles() | CancelVineTasks() | FetchFile():
            pass
        case DrainBlocks() | VineStatusRequest() | VineStandingRequest() | Shutdown():
            pass
        case _:
            assert_never(message)


def _same_length(first: Sized, *others: Sized) -> None:
    if any(len(other) != len(first) for other in others):
        raise BadMessage("lists that belong together differ in length")


def _check_numbers(values: Sequence[float]) -> None:
    if not all(0 <= value < math.inf for value in values):
        raise BadMessage("a number that is negative, or none")


def _check_resources(resources: Resources) -> None:
    _check_numbers(
        [value for value in (resources.cores, resources.memory, resources.disk, resources.gpus) if value is not None]
    )
