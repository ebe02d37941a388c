"""Why a call that waits has no slot of its library. Words for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis.executors.taskvine.embedded.allocation import allocate
from trellis.executors.taskvine.embedded.manager.file_recovery import has_cache_room
from trellis.executors.taskvine.embedded.manager.instances import has_room
from trellis.executors.taskvine.embedded.manager.obstacles_of_files import file_words, lost_files
from trellis.executors.taskvine.embedded.manager.obstacles_of_tasks import no_cache_room, why_full, why_never
from trellis.executors.taskvine.embedded.manager.records import InstalledLibrary, LibraryInstance, VineTask, VineWorker
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.executors.taskvine.obstacles import grouped
from trellis.wire.questions import Obstacle


def call_obstacles(store: Store, task: VineTask, now: float) -> list[Obstacle]:
    """Why the call is in no instance of its library, and why no other instance starts."""
    library = store.libraries[task.shape.library]
    place = f"library {library.spec.name}"
    found: list[Obstacle] = []
    if library.failures:
        times = "once" if library.failures == 1 else f"{library.failures} times"
        found.append(Obstacle(place, f"it did not start {times}; the last time: {library.last_words}", ""))
    lost = [name for name in library.files if store.replicas.file(name).lost]
    if lost:
        found += lost_files(store, lost)
    there = {worker.name: _instances(store, worker, library) for worker in store.workers.values()}
    up = [(worker.where, *_why_busy(store, i, worker, task, now)) for worker, i in _pairs(store, there)]
    found += grouped(up, f"{place} at ")
    found += grouped(_why_no_other(store, library, task, there, now), f"{place} at ")
    return found


def _instances(store: Store, worker: VineWorker, library: InstalledLibrary) -> list[LibraryInstance]:
    return [each for each in worker.instances.values() if each.library == library.spec.name]


def _pairs(store: Store, there: dict[str, list[LibraryInstance]]) -> Iterator[tuple[VineWorker, LibraryInstance]]:
    for name, instances in there.items():
        for instance in instances:
            yield store.workers[name], instance


def _why_busy(
    store: Store, instance: LibraryInstance, worker: VineWorker, task: VineTask, now: float
) -> tuple[str, str]:
    timeout_s = store.libraries[instance.library].spec.context_timeout_s
    if instance.missing:
        names = sorted(file_words(store.replicas.file(name)) for name in instance.missing)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"it is not ready: {names[0]}{more} is on the way there", "when its files have come, and it has started"
    if not instance.slots:
        return (
            f"it is not ready: it has been starting for {max(0.0, now - instance.since):.0f} s",
            f"when its context is there; after {timeout_s:g} s (context_timeout_s) it is given up",
        )
    never = why_never(worker, task, instance.allocation, instance.allocation, now)
    if never is not None:
        return never
    if instance.draining:
        return "it takes no more calls: it makes way for others that have waited for long", "elsewhere"
    if len(instance.calls) < instance.slots:
        if not has_cache_room(store, worker, task.inputs):
            return no_cache_room(worker)
        return "it has a free slot", "at once, unless others come first"
    slots = "its only slot is" if instance.slots == 1 else f"all its {instance.slots} slots are"
    return f"{slots} busy", "when a call there has ended"


def _why_no_other(
    store: Store, library: InstalledLibrary, task: VineTask, there: dict[str, list[LibraryInstance]], now: float
) -> Iterator[tuple[str, str, str]]:
    """Tell of workers that have no instance."""
    spec = library.spec
    for worker in store.workers.values():
        if there[worker.name]:
            continue
        allocation = allocate(spec.resources, worker.total)
        never = why_never(worker, task, spec.resources, allocation, now)
        if never is not None:
            yield worker.where, *never
            continue
        assert allocation is not None
        paused_s = worker.paused.get(spec.name, 0.0) - now
        if paused_s > 0:
            yield worker.where, "it did not start there just now", f"it is tried there again in {paused_s:.0f} s"
        elif not has_room(store, worker, allocation):
            yield worker.where, *why_full(worker, allocation)
        else:
            yield worker.where, "it has not been started there", "at once, when more calls wait than start elsewhere"
