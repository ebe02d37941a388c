"""Files that come to workers, or do not, or are lost there, and what that means for those who need them. Pure.

Nobody waits for a file that will not come: a temp that is lost is made again, and a file that cannot be had fails
those who need it.
"""

from __future__ import annotations

from trellis.executors.taskvine.embedded.manager.events import AnswerFetch, EvictFiles
from trellis.executors.taskvine.embedded.manager.lifecycle import Lifecycle
from trellis.executors.taskvine.embedded.manager.records import Staging, Task, Waiting, Worker
from trellis.executors.taskvine.embedded.manager.reference_counts import Ledger
from trellis.executors.taskvine.embedded.manager.replicas import File, is_peer
from trellis.executors.taskvine.embedded.manager.store import Store

# A task whose inputs could not be had so often, from wherever, fails.
MAX_UNSTAGED = 3
# A worker that could not send a file so often in a row is taken to have lost it.
MAX_SOURCE_FAILURES = 2
# After a failed transfer the task goes to another worker, if there is one, for so long.
AVOID_S = 5.0


class Supply:
    """Works on the manager's store."""

    def __init__(self, store: Store, ledger: Ledger, lifecycle: Lifecycle) -> None:
        self._store = store
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._thin: set[str] = set()  # temps that may have fewer replicas than they should
        self.revived = False  # a producer was queued again

    # -- a file has come ---------------------------------------------------------------------------------------

    def arrived(self, name: str, worker: Worker, now: float) -> None:
        store = self._store
        worker.not_received = 0
        for id_ in sorted(worker.expecting.pop(name, ())):
            task = store.tasks[id_]
            place = task.place
            assert isinstance(place, Staging)
            place.missing.discard(name)
            if not place.missing:
                store.begin(task, worker.name, place.resources, place.instance, now)
        file = store.replicas.file(name)
        if file.kind == "temp":
            self._temp_arrived(file, worker.name)

    def _temp_arrived(self, file: File, worker: str) -> None:
        store, name = self._store, file.name
        for id_ in sorted(store.waiting.pop(name, ())):
            task = store.tasks[id_]
            assert isinstance(task.place, Waiting)
            task.place.names.discard(name)
            if not task.place.names:
                store.enqueue(task)
        requests = self._lifecycle.fetches.pop(name, ())
        store.actions += [AnswerFetch(request, worker, name) for request in requests]
        self._thin.add(name)

    # -- a file has not come, or is gone -----------------------------------------------------------------------

    def not_arrived(self, file: File, worker: Worker, source: str, reason: str, now: float) -> None:
        """The worker could not get a file from this source."""
        worker.not_received += 1
        if not is_peer(source):
            self._unstage(file.name, worker, f"{file.name}: {reason}", now)
            return
        if file.failures.get(source, 0) >= MAX_SOURCE_FAILURES and source in file.ready:
            self.drop(file.name, source, now)
        if self._store.is_expected(file.name, worker) and not file.lost:
            self._store.replicas.want(file.name, worker.name)

    def drop(self, name: str, worker: str, now: float) -> None:
        """The worker shall not have it any more, or has lost it."""
        store = self._store
        store.replicas.drop(name, worker)
        store.actions.append(EvictFiles(worker, [name]))
        for id_ in sorted(store.workers[worker].tasks):
            task = store.tasks.get(id_)  # others that fail may take it along
            if task is not None and isinstance(task.place, Staging) and name in task.inputs:
                self._lifecycle.requeue(task, now)
        file = store.replicas.file(name)
        if file.lost:
            self.lost(name, now, blame=1)

    def lost(self, name: str, now: float, blame: int = 0) -> None:
        """No worker has this temp any more: who was promised it looks for a place again, once it is made again.

        ``blame``: how much that counts against those tasks.
        """
        for worker in list(self._store.workers.values()):
            if name in worker.expecting:
                self._unstage(name, worker, f"{name} was lost", now, blame)
        if name in self._lifecycle.fetches:
            self.recover(name, now)

    def _unstage(self, name: str, worker: Worker, reason: str, now: float, blame: int = 1) -> None:
        for id_ in sorted(worker.expecting.get(name, ())):
            task = self._store.tasks.get(id_)
            if task is None:  # it needed another's temp, which has failed
                continue
            task.unstaged += blame
            if task.unstaged >= MAX_UNSTAGED and not task.unwanted:
                self._lifecycle.fail(task, now, "input_missing", reason)
            else:
                self._lifecycle.avoid(task, worker.name, now + AVOID_S)
                self._lifecycle.requeue(task, now)

    # -- temps -------------------------------------------------------------------------------------------------

    def can_start(self, task: Task, now: float) -> bool:
        """Whether its inputs can be had; else it waits for temps, or fails. It is in no queue now."""
        store = self._store
        lost = {name for name in task.inputs if store.replicas.file(name).lost}
        if not lost:
            return True
        store.wait(task, lost)
        for name in sorted(lost):
            if store.tasks.get(task.id) is task and isinstance(task.place, Waiting):
                self.recover(name, now)
        return False

    def recover(self, name: str, now: float) -> None:
        """Have a lost temp made again, unless it is being made; whoever waits for one that nothing makes fails."""
        store = self._store
        producer = store.producers.get(name)
        if producer is None:
            self._give_up(name, now)
        elif producer.id not in store.tasks:
            producer.recovers = True
            producer.maximum = producer.unwanted = False
            producer.retries = producer.forsaken = producer.exits = producer.unstaged = 0
            producer.losses = []
            producer.outputs = tuple(n for n in producer.outputs if store.producers.get(n) is producer)
            self._ledger.use(producer.inputs + producer.outputs)
            store.tasks[producer.id] = producer
            store.enqueue(producer)
            self.revived = True

    def _give_up(self, name: str, now: float) -> None:
        words = f"{name}: no worker has it, and no task makes it"
        for id_ in sorted(self._store.waiting.get(name, ())):
            self._lifecycle.fail(self._store.tasks[id_], now, "input_missing", words)
        requests = self._lifecycle.fetches.pop(name, ())
        self._store.actions += [AnswerFetch(request, "", name, words) for request in requests]

    def fetch(self, request: int, name: str | None, now: float) -> None:
        """The submit side wants a file."""
        file = None if name is None else self._store.replicas.get(name)
        if name is None or file is None:
            answer = AnswerFetch(request, "", "", "nobody knows this file (any more)")
        elif file.ready:
            answer = AnswerFetch(request, min(file.ready), name)
        elif file.kind == "temp":
            self._lifecycle.fetches.setdefault(name, []).append(request)
            self.recover(name, now)
            return
        else:
            answer = AnswerFetch(request, "", name, "no worker has it")
        self._store.actions.append(answer)

    # -- more replicas of temps --------------------------------------------------------------------------------

    def worker_left(self, names: list[str]) -> None:
        self._thin.update(names)

    def replicate(self) -> None:
        """Order the copies of temps that are too few, to the workers with the least in their caches."""
        store, number = self._store, self._store.settings.temp_replicas
        thin, self._thin = self._thin, set()
        if number <= 1:
            return
        for name in sorted(thin):
            file = store.replicas.get(name)
            if file is None or file.lost or not store.replicas.is_shared(file):
                continue
            there = file.ready | file.creating.keys() | file.wanted.keys()
            others = [worker for worker in store.workers if worker not in there]
            others.sort(key=lambda worker: (store.replicas.cached_bytes(worker), worker))
            for worker in others[: max(0, number - len(there))]:
                store.replicas.want(name, worker)
            if len(file.ready) < number:
                self._thin.add(name)  # a transfer may fail, a worker may come
