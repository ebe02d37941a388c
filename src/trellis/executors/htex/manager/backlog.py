"""The tasks of a node that have not started, and what each asks for. Pure.

Plain tasks are handed out in order. Before one that takes several slots its gang is gathered (see ``gangs``), and one
that spreads over nodes waits for those first (see ``node_pool``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from trellis.executors.common.placement import slots_needed
from trellis.executors.htex.manager.events import Offer, Park, Release, RunGang
from trellis.executors.htex.manager.gangs import Gang, Gangs
from trellis.executors.htex.manager.node_pool import NodePool
from trellis.executors.htex.manager.pacing import ROUNDING, Shares
from trellis.wire.messages import Demand


@dataclass(frozen=True, slots=True)
class NodeSize:
    """What a manager has to share out: equal slots, one for each worker."""

    workers: int
    cpus: int = 1
    memory_bytes: int = 0
    gpus: int = 0
    nodes: tuple[str, ...] = ()  # names of the block's nodes, for tasks that spread over them


@dataclass(frozen=True, slots=True)
class DemandInSlots:
    """What a task asks for beyond a worker, and how many slots of this node that takes."""

    walltime_s: float
    demand: Demand
    slots: int

    @property
    def needs_gang(self) -> bool:
        """Whether it is told what is its own: also a single slot's cores and GPUs."""
        demand = self.demand
        return self.slots > 1 or bool(demand.cores or demand.gpus or demand.nodes)


_PLAIN = Demand()


class Backlog:
    """The tasks of a node until they start; their demands, and the gangs of those that run, until they end."""

    def __init__(self, size: NodeSize) -> None:
        self._size = size
        self._queue: deque[int] = deque()
        self._gangs = Gangs()
        self._nodes = NodePool(size.nodes)
        self._demands: dict[int, DemandInSlots] = {}  # of those tasks that have any
        self.demands: Mapping[int, DemandInSlots] = self._demands  # for readers

    def __len__(self) -> int:
        return len(self._queue) + len(self._gangs) + len(self._nodes)

    @property
    def tasks(self) -> list[int]:
        return [*self._gangs, *self._nodes.waiting, *self._queue]

    @property
    def in_queue(self) -> int:
        """Tasks for which nothing was done yet."""
        return len(self._queue)

    @property
    def gangs(self) -> Gangs:
        """Not to be changed."""
        return self._gangs

    @property
    def free_nodes(self) -> int:
        """Nodes of the block that no task has."""
        return self._nodes.free

    def nodes_wanted(self, task: int) -> int | None:
        """How many nodes a task waits for; None when it does not."""
        return self._demands[task].demand.nodes if task in self._nodes else None

    # -- tasks come --------------------------------------------------------------------------------------------

    def receive(
        self, ids: Sequence[int], walltimes_s: Sequence[float] | None, demands: Sequence[Demand | None] | None
    ) -> dict[int, str]:
        """Tasks have come; those that can never run here are not kept: why not."""
        infeasible: dict[int, str] = {}
        if walltimes_s is not None or demands is not None:
            count = len(ids)
            for task, walltime_s, demand in zip(
                ids, walltimes_s or [0.0] * count, demands or [None] * count, strict=True
            ):
                self._note_demand(task, walltime_s, demand, infeasible)
        self._queue.extend([task for task in ids if task not in infeasible] if infeasible else ids)
        return infeasible

    def _note_demand(self, task: int, walltime_s: float, demand: Demand | None, infeasible: dict[int, str]) -> None:
        if demand is None:
            if walltime_s > 0:
                self._demands[task] = DemandInSlots(walltime_s, _PLAIN, 1)
            return
        size = self._size
        slots = slots_needed(demand, size.cpus, size.memory_bytes, size.gpus, size.workers)
        if slots > size.workers:
            infeasible[task] = f"it asks for more than this node has: {size.cpus} cores, {size.gpus} GPUs, " + (
                f"{size.memory_bytes // 2**20} MB of memory"
            )
        elif demand.nodes > len(size.nodes):
            infeasible[task] = f"it asks for {demand.nodes} nodes, and this block has {len(size.nodes)}"
        else:
            self._demands[task] = DemandInSlots(walltime_s, demand, slots)

    def put_back(self, ids: Sequence[int]) -> None:
        """Have tasks that were offered wait again: they are next."""
        self._queue.extendleft(reversed(ids))

    # -- tasks go to workers -----------------------------------------------------------------------------------

    def offer(self, room: float, shares: Shares) -> list[Offer | Park]:
        """Hand out tasks for so many free slots, in order; ``shares``: how much of a slot a task takes."""
        queue = self._queue
        if not self._demands:
            count = shares.fitting(queue, room)
            return [Offer([queue.popleft() for _ in range(count)])] if count else []
        actions: list[Offer | Park] = []
        while room > ROUNDING:
            room -= self._gather_for_nodes(actions)
            if not self.fits(room, shares):
                break
            task = queue.popleft()
            needs = self._demands.get(task)
            if needs is None or not needs.needs_gang:
                room -= shares.of(task)
                _add(actions, task)
            elif needs.demand.nodes:
                self._nodes.wait(task, needs.demand.nodes)
            else:
                room -= self._gather(task, (), actions)
        return actions

    def fits(self, room: float, shares: Shares) -> bool:
        """Whether the next task can be handed out."""
        if not self._queue or room <= ROUNDING:
            return False
        task = self._queue[0]
        needs = self._demands.get(task)
        return (needs is not None and needs.needs_gang) or shares.of(task) <= room + ROUNDING

    def _gather_for_nodes(self, actions: list[Offer | Park]) -> int:
        found = self._nodes.take()
        return 0 if found is None else self._gather(*found, actions)

    def _gather(self, task: int, nodes: tuple[str, ...], actions: list[Offer | Park]) -> int:
        slots = self._demands[task].slots
        self._gangs.gather(task, slots, nodes)
        actions.append(Park(slots))
        return slots

    def park(self, worker: int) -> RunGang | Release | None:
        """A worker has parked; None: it waits for others."""
        if not self._gangs:
            return Release([worker])
        complete = self._gangs.park(worker)
        if complete is None:
            return None
        task, gang = complete
        return RunGang(task, list(gang.workers), self._demands[task].demand, gang.nodes)

    # -- tasks go away -----------------------------------------------------------------------------------------

    def cancel(self, asked: Collection[int]) -> tuple[list[int], list[int]]:
        """Remove those of these tasks that have not started; give them, and the workers that parked for them."""
        queued = [task for task in self._queue if task in asked]
        if queued:
            self._queue = deque(task for task in self._queue if task not in asked)
        if not self._demands:
            return queued, []
        waiting = [task for task in self._nodes.waiting if task in asked]
        for task in waiting:
            self._nodes.remove(task)
        gathering = [task for task in self._gangs if task in asked]
        parked = self._disband(gathering)
        for task in [*queued, *waiting, *gathering]:
            self._demands.pop(task, None)
        return [*queued, *waiting, *gathering], parked

    def put_all_back(self) -> list[int]:
        """Have all tasks wait as if nothing had been done for them; give the workers that had parked."""
        if not self._demands:
            return []
        tasks = self.tasks
        parked = self._disband(list(self._gangs))
        for task in self._nodes.waiting:
            self._nodes.remove(task)
        self._queue = deque(tasks)
        return parked

    def _disband(self, tasks: list[int]) -> list[int]:
        gangs = [self._gangs.remove(task) for task in tasks]
        for gang in gangs:
            self._nodes.put_back(gang.nodes)
        return [worker for gang in gangs for worker in gang.workers]

    def take_last(self, count: int) -> list[int]:
        """Take up to so many from the end of the queue, in order."""
        ids = [self._queue.pop() for _ in range(min(count, len(self._queue)))]
        ids.reverse()
        if self._demands:
            for task in ids:
                self._demands.pop(task, None)
        return ids

    def lose_worker(self, worker: int) -> bool:
        """Note that a worker has died that ran nothing; True when its slot is still a running task's."""
        return self._gangs.lose(worker)

    def end(self, task: int) -> Gang | None:
        """Note that a task that had started has ended; give its gang."""
        if not self._demands or self._demands.pop(task, None) is None:
            return None
        gang = self._gangs.end(task)
        if gang is not None:
            self._nodes.put_back(gang.nodes)
        return gang

    def check_invariants(self) -> None:
        tasks = self.tasks
        assert len(set(tasks)) == len(tasks), "a task waits in two places"
        assert {*self._gangs, *self._gangs.running, *self._nodes.waiting} <= self._demands.keys()
        taken = [name for gang in self._gangs.all for name in gang.nodes]
        assert len(taken) + self._nodes.free == len(self._size.nodes), "nodes are lost or given twice"
        assert len(set(taken)) == len(taken), "two tasks have the same node"
        workers = [worker for gang in self._gangs.all for worker in (*gang.workers, *gang.dead)]
        assert len(set(workers)) == len(workers), "a worker is in two gangs"
        assert all(len(gang.workers) + len(gang.dead) == gang.size for gang in self._gangs.running.values())


def _add(actions: list[Offer | Park], task: int) -> None:
    last = actions[-1] if actions else None
    if isinstance(last, Offer):
        last.ids.append(task)
    else:
        actions.append(Offer([task]))
