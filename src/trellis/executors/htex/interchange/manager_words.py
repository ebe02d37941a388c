"""How a manager is, in a word or a number, as people are told. Pure."""

from __future__ import annotations

from trellis.executors.htex.interchange.manager_table import ManagerEntry


def state_of(manager: ManagerEntry) -> str:
    """Why it takes no tasks, or "active"."""
    if not manager.connected:
        return "disconnected"
    if manager.draining:
        return "draining"
    if manager.put_aside:
        return "put aside"
    return "held" if manager.held else "active"


def begun(manager: ManagerEntry) -> int:
    """Tasks that run; of short ones more may be with the workers."""
    return min(len(manager.started), manager.registration.workers)


def busy(manager: ManagerEntry) -> int:
    """Workers that have a task, or are kept for one of several slots."""
    extra = manager.used - len(manager.tasks)
    return min(len(manager.started) + extra, manager.registration.workers)
