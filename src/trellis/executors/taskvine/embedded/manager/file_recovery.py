"""Files that come to workers, or do not, or are lost or evicted there, and what that means for who needs them. Pure.

Nobody waits for a file that will not come: a temp that is lost is made again, and a file that cannot be had fails
those who need it.
"""

from __future__ import annotations

from collections.abc import Sequence

from trellis.executors.taskvine.embedded.manager.events import AnswerFetch, EvictFiles, FetchRequested
from trellis.executors.taskvine.embedded.manager.lifecycle import avoid, fail, fail_waiting, requeue, use
from trellis.executors.taskvine.embedded.manager.records import AwaitingInputs, AwaitingTemps, VineTask, VineWorker
from trellis.executors.taskvine.embedded.manager.replicas import CachedFile, is_peer
from trellis.executors.taskvine.embedded.manager.store import Store

# A task whose inputs could not be had so often, from wherever, fails.
MAX_UNSTAGED = 3
# A worker that could not send a file so often in a row is taken to have lost it.
MAX_SOURCE_FAILURES = 2
# After a failed transfer the task goes to another worker, if there is one, for so long.
AVOID_S = 5.0
_MB = 2**20

# -- a file has come -------------------------------------------------------------------------------------------


def file_arrived(store: Store, name: str, worker: VineWorker) -> None:
    worker.not_received = 0
    store.input_ready(name, worker)
    if store.replicas.file(name).kind == "temp":
        store.temp_ready(name)
        requests = store.fetches.pop(name, ())
        store.actions += [AnswerFetch(request, worker.name, name) for request in requests]
        store.underreplicated.add(name)


# -- a file has not come, or is gone ---------------------------------------------------------------------------


def file_failed(store: Store, file: CachedFile, worker: VineWorker, source: str, reason: str) -> None:
    """The worker could not get a file from this source."""
    worker.not_received += 1
    if not is_peer(source):
        _unstage(store, file.name, worker, f"{file.name}: {reason}")
        return
    if file.failures.get(source, 0) >= MAX_SOURCE_FAILURES and source in file.ready:
        file_gone(store, file, source)
    if store.is_expected(file.name, worker) and not file.lost:
        store.replicas.want(file.name, worker.name)


def file_gone(store: Store, file: CachedFile, worker: str) -> None:
    """The worker has lost the file, or is taken to have."""
    store.replicas.evict(file.name, worker)
    store.actions.append(EvictFiles(worker, [file.name]))
    for id_ in sorted(store.workers[worker].tasks):
        task = store.tasks.get(id_)  # others that fail may take it along
        if task is not None and isinstance(task.place, AwaitingInputs) and file.name in task.inputs:
            requeue(store, task)
    if file.lost:
        temp_lost(store, file.name, blame=1)


def temp_lost(store: Store, name: str, blame: int = 0) -> None:
    """No worker has this temp any more: who was promised it looks for a place again, once it is made again.

    ``blame``: how much that counts against those tasks.
    """
    for worker in list(store.workers.values()):
        if name in worker.expecting:
            _unstage(store, name, worker, f"{name} was lost", blame)
    if name in store.fetches:
        recover(store, name)


def _unstage(store: Store, name: str, worker: VineWorker, reason: str, blame: int = 1) -> None:
    for id_ in sorted(worker.expecting.get(name, ())):
        task = store.tasks.get(id_)
        if task is None:  # it needed another's temp, which has failed
            continue
        task.unstaged += blame
        if task.unstaged >= MAX_UNSTAGED and not task.unwanted:
            fail(store, task, "input_missing", reason)
        else:
            avoid(store, task, worker.name, AVOID_S)
            requeue(store, task)


# -- temps -----------------------------------------------------------------------------------------------------


def can_start(store: Store, task: VineTask) -> bool:
    """Whether the inputs of a task that is in no queue now can be had; else it waits for temps, or fails."""
    lost = {name for name in task.inputs if store.replicas.file(name).lost}
    if not lost:
        return True
    store.await_temps(task, lost)
    for name in sorted(lost):
        if store.tasks.get(task.id) is task and isinstance(task.place, AwaitingTemps):
            recover(store, name)
    return False


def recover(store: Store, name: str) -> None:
    """Have a lost temp made again, unless it is being made; whoever waits for one that nothing makes fails."""
    producer = store.producers.get(name)
    if producer is None:
        fail_waiting(store, name, f"{name}: no worker has it, and no task makes it")
    elif producer.id not in store.tasks:
        producer.recover(tuple(n for n in producer.outputs if store.producers.get(n) is producer))
        use(store, producer.inputs + producer.outputs)
        store.add_task(producer)
        store.revived = True


def on_fetch_requested(store: Store, event: FetchRequested) -> None:
    """The submit side wants a file."""
    name = store.names.get(event.file)
    file = None if name is None else store.replicas.get(name)
    if name is None or file is None:
        answer = AnswerFetch(event.request, "", "", "nobody knows this file (any more)")
    elif file.ready:
        answer = AnswerFetch(event.request, min(file.ready), name)
    elif file.kind == "temp":
        store.fetches.setdefault(name, []).append(event.request)
        recover(store, name)
        return
    else:
        answer = AnswerFetch(event.request, "", name, "no worker has it")
    store.actions.append(answer)


def replicate(store: Store) -> None:
    """Order the copies of temps that are too few, to the workers with the least in their caches."""
    number = store.settings.temp_replicas
    names, store.underreplicated = store.underreplicated, set()
    if number <= 1:
        return
    for name in sorted(names):
        file = store.replicas.get(name)
        if file is None or file.lost or not store.replicas.is_shared(file):
            continue
        there = file.ready | file.creating.keys() | file.wanted.keys()
        others = [worker for worker in store.workers if worker not in there]
        others.sort(key=lambda worker: (store.replicas.cached_bytes(worker), worker))
        for worker in others[: max(0, number - len(there))]:
            store.replicas.want(name, worker)
        if len(file.ready) < number:
            store.underreplicated.add(name)  # a transfer may fail, a worker may come


# -- room in a worker's cache ----------------------------------------------------------------------------------


def has_cache_room(store: Store, worker: VineWorker, inputs: Sequence[str]) -> bool:
    """Whether there is room for these, or would be when others make way."""
    return _making_way(store, worker, inputs) is not None


def make_cache_room(store: Store, worker: VineWorker, inputs: Sequence[str]) -> bool:
    """Whether there is room for these; files make way that can be had again, and that nothing there uses."""
    victims = _making_way(store, worker, inputs)
    if victims:
        for name in victims:
            store.replicas.evict(name, worker.name)
        store.actions.append(EvictFiles(worker.name, victims))
    return victims is not None


def _making_way(store: Store, worker: VineWorker, inputs: Sequence[str]) -> list[str] | None:
    """What has to make way for these; None: even then there is no room."""
    if not inputs or not worker.total.disk:
        return []
    replicas = store.replicas
    here = replicas.names_at(worker.name)
    coming = {*worker.expecting, *inputs}
    new = sum(max(replicas.file(name).size, 0) for name in coming if name not in here)
    over = new + replicas.cached_bytes(worker.name) - int(worker.total.disk * _MB)
    if over <= 0 or not new:  # what tasks have made may be more than there is room for; it is there
        return []
    return _victims(store, worker, coming, over)


def _victims(store: Store, worker: VineWorker, coming: set[str], over: int) -> list[str] | None:
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


def _in_use(store: Store, worker: VineWorker) -> set[str]:
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
