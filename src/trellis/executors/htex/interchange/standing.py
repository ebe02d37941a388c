"""Why a task does not run: where it is, and for each manager why it cannot go there now. Words for people. Pure.

Nothing is kept for this: it is worked out when somebody asks, from what decides where tasks go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trellis.executors.htex.interchange.candidates import Tier, room_for
from trellis.executors.htex.interchange.demands import (
    DemandKind,
    DemandOnNode,
    demand_on,
    describe_lack,
)
from trellis.executors.htex.interchange.infeasible import InfeasibleKinds
from trellis.executors.htex.interchange.manager_table import ManagerEntry, ManagerTable
from trellis.executors.htex.interchange.manager_words import state_of
from trellis.executors.htex.interchange.task_table import TaskTable
from trellis.wire.questions import Obstacle, StandingReply

# Managers that are named when many have the same reason.
_MOST_NAMES = 3

_WHEN_ONE_ENDS = "when one of the tasks there has ended"


def standing_of(
    tasks: TaskTable, managers: ManagerTable, infeasible: InfeasibleKinds, request: int, id_: int, now: float
) -> StandingReply:
    """The answer to such a question about this task."""
    queue = tasks.queue
    name = managers.manager_of.get(id_)
    if name is not None:
        manager = managers.entries[name]
        return StandingReply(request, "assigned", _at_manager(manager, id_), queue=len(queue.waiting), manager=name)
    if id_ in tasks.unclaimed.tasks:
        text = "the interchange was started again, and waits until the managers have said which of them has it"
        return StandingReply(request, "queued", text, queue=len(queue.waiting))
    if id_ not in queue.waiting:
        return StandingReply(request, "unknown", "the interchange does not have it: it has just ended, or will come")
    position, kind = queue.position(id_), queue.kind_of(id_)
    before = "it is the next" if not position else _counted(position, "task is", "tasks are") + " before it"
    text = f"it waits in the queue of the interchange, {before}"
    if not managers.entries:
        return StandingReply(request, "queued", f"{text}; no manager is connected", position, len(queue.waiting))
    obstacles = _grouped(_obstacles(managers, kind, now))
    if (due := infeasible.due.get(kind)) is not None:
        until = f"when a manager comes that has so much; otherwise the task fails in {max(0.0, due - now):.0f} s"
        obstacles.append(Obstacle("all managers", "it asks for more than any of them has", until))
    return StandingReply(request, "queued", text, position, len(queue.waiting), obstacles=obstacles)


def _at_manager(manager: ManagerEntry, id_: int) -> str:
    place = f"manager {manager.name} on {manager.registration.hostname}"
    if id_ in manager.started:
        return f"{place} has given it to its workers"
    return f"{place} has it, and has not said that it started"


def _obstacles(managers: ManagerTable, kind: DemandKind, now: float) -> Iterable[tuple[ManagerEntry, str, str]]:
    for manager in managers.entries.values():
        reason, until = why_not(manager, kind, now, is_reserved=manager.name in managers.reserved)
        silent_s = now - manager.last_heard
        if silent_s >= managers.threshold_s / 2:  # several heartbeats
            reason += f"; nothing was heard of it for {silent_s:.0f} s"
            until = f"it is given up after {managers.threshold_s:.0f} s of silence"
        yield manager, reason, until


def _grouped(obstacles: Iterable[tuple[ManagerEntry, str, str]]) -> list[Obstacle]:
    groups: dict[tuple[str, str], list[ManagerEntry]] = {}
    for manager, reason, until in obstacles:
        groups.setdefault((reason, until), []).append(manager)
    return [Obstacle(_place(entries), reason, until) for (reason, until), entries in groups.items()]


def _place(entries: list[ManagerEntry]) -> str:
    names = [f"{entry.name} on {entry.registration.hostname}" for entry in entries[:_MOST_NAMES]]
    more = len(entries) - len(names)
    if len(entries) == 1:
        return f"manager {names[0]}"
    return f"managers {', '.join(names)}" + (f" and {more} more" if more else "")


# -- one manager ---------------------------------------------------------------------------------------------------

_STATES: Mapping[str, tuple[str, str]] = {
    "disconnected": ("its connection broke", "when it is back, or is given up"),
    "held": (
        "it is held: hold_worker was called, or its block is about to end, and it gets no more tasks",
        "when another manager comes: a held one stays so",
    ),
    "draining": ("it is draining: it takes no more tasks", "it ends when what it has is done"),
    "put aside": (
        "it was put aside: its workers died one after the other, and those of others did not",
        "when no other manager is left",
    ),
}


def why_not(manager: ManagerEntry, kind: DemandKind, now: float, is_reserved: bool = False) -> tuple[str, str]:
    """Why a task of this kind cannot go to this manager now, and when that may change."""
    hello = manager.registration
    if (state := state_of(manager)) in _STATES:
        return _STATES[state]
    each = demand_on(hello, kind.demand)
    if each is None:
        assert kind.demand is not None
        return describe_lack(hello, kind.demand), "never there: ask for less, or for larger nodes or blocks"
    if not manager.lasts(kind.walltime_s, now):
        left_s = max(0.0, (manager.ends_at or now) - now)
        return (
            f"its job ends in {left_s:.0f} s, and the task may take {kind.walltime_s:g} s (its walltime)",
            "in a block that has more time left, or with a shorter walltime",
        )
    return _why_full(manager, kind, each, now, is_reserved)


def _why_full(
    manager: ManagerEntry, kind: DemandKind, each: DemandOnNode, now: float, is_reserved: bool
) -> tuple[str, str]:
    workers, free = manager.registration.workers, max(0, manager.free)
    if each.nodes > max(0, manager.free_nodes):
        free_nodes = max(0, manager.free_nodes)
        needs = _counted(each.nodes, "node")
        return f"the task needs {needs}, and {_is(free_nodes)} free: others have them, or came before", _WHEN_ONE_ENDS
    if is_reserved:
        return "what is free there is kept for a task that needs more, and came before", "when that has started"
    room = room_for(manager, kind, now, may_run_ahead=False)
    if room is not None and room.tier is not Tier.RESERVED:
        return "it has room", "at once, unless others come first"
    if each.slots > 1 and free:
        return f"the task needs {each.slots} of its {workers} workers, and {_is(free)} free", _WHEN_ONE_ENDS
    waiting = manager.used - workers
    ahead = f", and {_counted(waiting, 'task waits', 'tasks wait')} there" if waiting > 0 else ""
    return f"{_all_busy(workers)}{ahead}", _WHEN_ONE_ENDS


def _all_busy(workers: int) -> str:
    return "its only worker is busy" if workers == 1 else f"all its {workers} workers are busy"


def _is(count: int) -> str:
    return "none is" if not count else f"{count} {'is' if count == 1 else 'are'}"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"
