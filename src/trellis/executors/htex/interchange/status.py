"""The interchange's answer to how things are. Pure."""

from __future__ import annotations

from trellis.executors.htex.interchange.manager_words import begun, busy, state_of
from trellis.executors.htex.interchange.state import InterchangeState
from trellis.wire.questions import ManagerStatus, StatusReply


def status_of(state: InterchangeState, request: int, now: float) -> StatusReply:
    managers = [
        ManagerStatus(
            manager=name,
            block=manager.registration.block,
            hostname=manager.registration.hostname,
            workers=manager.registration.workers,
            capacity=manager.registration.capacity,
            tasks=len(manager.tasks),
            idle_s=0.0 if manager.idle_since is None else now - manager.idle_since,
            active=not (manager.held or manager.draining),
            draining=manager.draining,
            last_heard_s=now - manager.last_heard,
            start_time=manager.registration.start_time,
            trellis_version=manager.registration.trellis_version,
            python_version=manager.registration.python_version,
            busy=busy(manager),
            begun=begun(manager),
            state=state_of(manager),
        )
        for name, manager in state.managers.items()
    ]
    return StatusReply(request, state.pending, state.running, managers, state.blocks)
