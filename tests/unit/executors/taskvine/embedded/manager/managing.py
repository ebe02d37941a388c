"""A manager's machine, with short words for what happens at it."""

from __future__ import annotations

from random import Random
from typing import Any

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.state import VineManagerSettings, VineManagerState
from trellis.wire.vine import VINE_PROTOCOL_VERSION, FileSpec, LibrarySpec, Mount, RegisterWorker, Resources, TaskShape

MB = 2**20
WHOLE = Resources(4, 400, 1_000, 0)  # what a worker has, if nothing else is said
ONE = Resources(1, 100, 250, 0)  # a task that asks for one core gets this of it


def registration(name: str, resources: Resources = WHOLE, **more: Any) -> RegisterWorker:
    given: dict[str, Any] = {
        "features": [],
        "transfer_address": f"{name}:1",
        "ends_in_s": None,
        "cached": [],
        "cached_sizes": [],
        **more,
    }
    return RegisterWorker(VINE_PROTOCOL_VERSION, name, f"{name}.host", 1, resources, **given)


class Manager:
    """Invariants are checked after each event. File N is called "fN"; shape 0 asks for one core."""

    def __init__(self, **settings: Any) -> None:
        self.state = VineManagerState(VineManagerSettings(100.0, **settings), Random(1))
        self.now = 0.0
        self.shape(0, TaskShape("regular", "c", Resources(cores=1)))

    def handle(self, event: events.Event) -> list[events.Action]:
        actions = self.state.handle(event, self.now)
        self.state.check_invariants()
        return actions

    def shape(self, id_: int, shape: TaskShape) -> list[events.Action]:
        return self.handle(events.ShapesDefined([id_], [shape]))

    def worker(self, name: str, resources: Resources = WHOLE, **more: Any) -> list[events.Action]:
        return self.handle(events.WorkerRegistered(registration(name, resources, **more)))

    def file(self, id_: int, kind: str = "file", level: str = "workflow", size_mb: int = 1, peer: bool = True) -> None:
        source = {"file": f"/f{id_}", "url": f"http://f{id_}"}.get(kind, "")
        spec = FileSpec(id_, kind, source, level, peer)
        size = -1 if kind in ("temp", "url") else size_mb * MB
        assert self.handle(events.FilesDeclared([spec], [f"f{id_}"], [size])) == []

    def library(self, name: str, **more: Any) -> list[events.Action]:
        return self.handle(events.LibrariesInstalled([LibrarySpec(name, **more)]))

    def submit(
        self,
        id_: int,
        shape: int = 0,
        inputs: tuple[int, ...] = (),
        outputs: tuple[int, ...] = (),
        result_file: int | None = None,
    ) -> list[events.Action]:
        return self.handle(
            events.TasksSubmitted(
                [id_],
                [shape],
                {0: [Mount(file, "in") for file in inputs]} if inputs else {},
                {0: [Mount(file, "out") for file in outputs]} if outputs else {},
                {} if result_file is None else {0: result_file},
            )
        )

    def cached(self, worker: str, *files: int, size_mb: int = 1) -> list[events.Action]:
        return self.handle(events.CacheUpdated(worker, [f"f{file}" for file in files], [size_mb * MB] * len(files)))

    def not_cached(self, worker: str, file: int) -> list[events.Action]:
        return self.handle(events.CacheFailed(worker, f"f{file}", "no"))

    def ended(
        self, worker: str, *ids: int, duration_s: float = 1.0, used: Resources | None = None
    ) -> list[events.Action]:
        measured = [] if used is None else [used] * len(ids)
        return self.handle(events.CallsEnded(worker, ids, [duration_s] * len(ids), measured))

    def failed(self, worker: str, id_: int, status: str, reason: str = "why") -> list[events.Action]:
        return self.handle(events.TaskFailed(worker, id_, status, reason))

    def cancel(self, *ids: int) -> list[events.Action]:
        return self.handle(events.CancelRequested(ids))

    def left(self, worker: str) -> list[events.Action]:
        return self.handle(events.WorkerLeft(worker, "gone"))

    def wait(self, seconds: float) -> list[events.Action]:
        """Let time pass, and with it every deadline."""
        end, actions = self.now + seconds, list[events.Action]()
        while True:
            deadline = self.state.next_deadline()
            if deadline is None or deadline > end:
                self.now = end
                return actions
            self.now = deadline
            actions += self.handle(events.DeadlinePassed())

    def make(self, worker: str, id_: int, temp: int) -> None:
        """A task has run there, and left its result as this temp."""
        if f"f{temp}" not in self.state.store.replicas._files:
            self.file(temp, "temp")
        self.submit(id_, result_file=temp)
        assert self.at(id_) == worker
        self.cached(worker, temp)
        self.ended(worker, id_)

    def at(self, id_: int) -> str:
        """The worker where the task is; empty: nowhere."""
        task = self.state.store.tasks.get(id_)
        return "" if task is None else getattr(task.place, "worker", "")


def run(worker: str, *ids: int, resources: Resources | None = ONE, instance: int = -1) -> events.RunTasks:
    return events.RunTasks(worker, list(ids), [resources] * len(ids), [instance] * len(ids))
