"""Why files that tasks wait for are not there. Words for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from trellis.executors.taskvine.embedded.manager.records import (
    AwaitingInputs,
    AwaitingTemps,
    Queued,
    VineTask,
    VineWorker,
)
from trellis.executors.taskvine.embedded.manager.replicas import CachedFile, is_peer
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.wire.questions import Obstacle

# Files that are told of one by one.
_MOST_FILES = 5


def file_words(file: CachedFile) -> str:
    """A file as its user knows it, if he does."""
    return f"file {file.source or file.name}"


def lost_files(store: Store, names: Iterable[str]) -> list[Obstacle]:
    """Temporary files that no worker has."""
    found = []
    for name in sorted(names):
        producer = store.producers.get(name)
        place = file_words(store.replicas.file(name))
        if producer is None or producer.id not in store.tasks:
            found.append(Obstacle(place, "no worker has it, and no task is about to make it", ""))
        else:
            reason = f"a task of {producer.shape.category} makes it, {_doing(store, producer)}"
            found.append(Obstacle(place, reason, "when that task has ended"))
    return _cut(found)


def _doing(store: Store, task: VineTask) -> str:
    place = task.place
    if isinstance(place, Queued):
        return "which waits in the queue itself"
    if isinstance(place, AwaitingTemps):
        return "which waits for files that others make"
    where = f"worker {store.workers[place.worker].where}"
    if isinstance(place, AwaitingInputs):
        return f"which waits for its inputs at {where}"
    return f"which runs at {where}"


def coming_files(store: Store, names: Iterable[str], worker: VineWorker, now: float) -> list[Obstacle]:
    """Files that this worker does not have yet."""
    found = []
    for name in sorted(names):
        file = store.replicas.file(name)
        source = file.creating.get(worker.name)
        if source is None:
            reason, until = _why_not_sent(store, file, now)
        elif source == worker.name:
            reason, until = "a task there makes it", "when that task has ended"
        else:
            reason, until = f"it is on its way from {_source(store, source)}", "when it has come"
        found.append(Obstacle(file_words(file), reason, until))
    return _cut(found)


def _source(store: Store, source: str) -> str:
    if not source:
        return "the manager"
    peer = store.workers.get(source)
    return f"worker {peer.where}" if peer is not None else source


def _why_not_sent(store: Store, file: CachedFile, now: float) -> tuple[str, str]:
    if file.lost:
        return "no worker has it", "when the task that makes it has run"
    failed = store.replicas.pauses(file, now)
    if failed:
        names = ", ".join(sorted(_source(store, source) for source in failed))
        return f"it could not be had from {names} just now", f"in {max(failed.values()):.0f} s it is tried again"
    receiving = [name for name in file.creating if name != file.creating[name]]
    if receiving and any(is_peer(file.creating[name]) for name in receiving):
        return "those that have it are sending to as many workers as they may", "when one of these has got it"
    if receiving:
        return "it is being sent to another worker first, which will pass it on", "when that one has got it"
    return "it waits for somebody that may send it", "when those that have it send less"


def _cut(found: list[Obstacle]) -> list[Obstacle]:
    more = len(found) - _MOST_FILES
    if more <= 1:
        return found
    return [*found[:_MOST_FILES], Obstacle(f"{more} more files", "they are not there either", "")]
