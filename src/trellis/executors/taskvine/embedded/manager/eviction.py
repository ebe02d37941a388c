"""What a worker's cache gives up when inputs would not fit. Pure.

Only what can be had again: from the manager, a URL, or another worker; and nothing that a task or library there uses.
"""

from __future__ import annotations

from collections.abc import Iterable

from trellis.executors.taskvine.embedded.manager.records import Worker
from trellis.executors.taskvine.embedded.manager.store import Store

_MB = 2**20


def make_cache_room(store: Store, worker: Worker, inputs: Iterable[str]) -> list[str] | None:
    """Files that make way for those of these inputs that are not there; None: there is no room for them.

    They are taken from the table; the worker has to be told.
    """
    if not worker.total.disk:
        return []
    replicas = store.replicas
    here = replicas.names_at(worker.name)
    coming = {*worker.expecting, *inputs}
    new = sum(max(replicas.file(name).size, 0) for name in coming if name not in here)
    over = new + replicas.cached_bytes(worker.name) - int(worker.total.disk * _MB)
    if over <= 0 or not new:  # what tasks have made may be more than there is room for; it is there
        return []
    victims = _victims(store, worker, coming, over)
    for name in victims or ():
        replicas.drop(name, worker.name)
    return victims


def _victims(store: Store, worker: Worker, coming: set[str], over: int) -> list[str] | None:
    """The least recently used that are large enough together; None: all together are not."""
    kept = coming | _in_use(store, worker)
    sizes = store.replicas.sizes_at(worker.name)
    victims = []
    for name, size in sizes.items():
        if over <= 0:
            break
        if size and name not in kept and _can_be_had_again(store, name, worker.name):
            victims.append(name)
            over -= size
    return victims if over <= 0 else None


def _in_use(store: Store, worker: Worker) -> set[str]:
    used: set[str] = set()
    for id_ in worker.tasks:
        used.update(store.tasks[id_].inputs, store.tasks[id_].outputs)
    for instance in worker.instances.values():
        used.update(store.libraries[instance.library].files)
    return used


def _can_be_had_again(store: Store, name: str, worker: str) -> bool:
    file = store.replicas.get(name)
    if file is None:  # of another run
        return True
    if worker not in file.ready:
        return False
    return len(file.ready) > 1 if file.kind == "temp" else not file.made
