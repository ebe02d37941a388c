"""What may happen in a simulation of a TaskVine manager: tasks, libraries, and how much goes wrong. Plain values."""

from __future__ import annotations

from dataclasses import dataclass

from trellis.wire.vine import LibrarySpec, Mount, Resources, TaskShape

# Shape ids: of regular tasks, and of calls of each library.
SHAPES = [
    TaskShape("regular", "whole", Resources()),
    TaskShape("regular", "small", Resources(cores=1, memory=100, disk=10)),
    TaskShape("regular", "share", Resources(cores=1)),
    TaskShape("regular", "urgent", Resources(cores=2), priority=5.0),
    TaskShape("regular", "featured", Resources(cores=1), features=("gpu",)),
    TaskShape("regular", "long", Resources(cores=1), time_min_s=5.0),
    TaskShape("serverless", "calls", Resources(), library="good"),
    TaskShape("serverless", "calls", Resources(), library="filed"),
    TaskShape("serverless", "calls", Resources(), library="moody"),
    TaskShape("serverless", "calls", Resources(), library="broken"),
]
CALLS = range(6, 10)


@dataclass(frozen=True)
class VineScenario:
    """What may happen in a run. Times in simulated seconds.

    Args:
        tasks: tasks that are submitted in the first ``faults_s``.
        workers: workers at the start.
        faults: how many, at random times in the first ``faults_s``; 0: nothing goes wrong that is not planned.
        peers: whether workers pass files on.
        temp_replicas: as in the manager's settings.
        policy: as in the manager's settings.
        disk: MB of each worker; each file has one.
        ends: statuses that tasks end with; empty: a result.
    """

    tasks: int = 40
    workers: int = 3
    faults: int = 8
    faults_s: float = 15.0
    peers: bool = True
    temp_replicas: int = 1
    policy: str = "files"
    disk: float = 1_000.0
    slow_factor: float = 0.0
    autolabel: str = "fixed"
    ends: tuple[str, ...] = ("", "", "", "", "", "signal", "output_missing")
    heartbeat_threshold_s: float = 6.0


@dataclass
class VineTaskPlan:
    """One task of the simulated user. Files by their numbers."""

    id: int
    shape: int
    duration_s: float
    inputs: tuple[int, ...] = ()
    temps: tuple[int, ...] = ()  # that it makes
    home: tuple[int, ...] = ()  # files that it makes, and that come home
    end: str = ""  # status that it fails with; empty: it has a result
    kills_library: bool = False
    exhausts: bool = False  # with anything but a whole worker's memory


@dataclass
class LibraryPlan:
    """``fails``: how often a start of it comes to nothing, from 0 to 1."""

    name: str
    slots: int
    fails: float
    files: tuple[int, ...] = ()


def library_spec(plan: LibraryPlan) -> LibrarySpec:
    """As the user installs it."""
    inputs = [Mount(number, "x") for number in plan.files]
    return LibrarySpec(plan.name, "direct" if plan.slots == 1 else "fork", plan.slots, Resources(cores=1), inputs)
