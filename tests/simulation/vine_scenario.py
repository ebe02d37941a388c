"""What may happen in a simulation of TaskVine: tasks, libraries, and how much goes wrong. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from trellis.executors.taskvine.embedded.manager.protocol import VineManagerProtocol
from trellis.executors.taskvine.embedded.manager.state import VineManagerSettings, VineManagerState
from trellis.executors.taskvine.embedded.worker.protocol import VineWorkerProtocol
from trellis.executors.taskvine.embedded.worker.state import VineWorkerState
from trellis.executors.taskvine.settings import VineSettings
from trellis.wire.codec import Payload
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
    TaskShape("regular", "limited", Resources(cores=1), time_max_s=1.0),
    TaskShape("serverless", "calls", Resources(), library="good", time_max_s=1.0),
]
CALLS = (6, 7, 8, 9, 11)
# Function ids that tasks call; another one is that of a library's context.
FUNCTIONS = range(4)
CONTEXT = 4
MB = 2**20
CLIENT = "client"


class Parts(NamedTuple):
    """The classes that are simulated; a test of the oracles puts broken ones here."""

    manager: type[VineManagerProtocol] = VineManagerProtocol
    manager_machine: type[VineManagerState] = VineManagerState
    worker: type[VineWorkerProtocol] = VineWorkerProtocol
    worker_machine: type[VineWorkerState] = VineWorkerState


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
        ends: how tasks end, as in ``VineTaskPlan``.
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
    ends: tuple[str, ...] = ("", "", "", "", "", "signal", "output_missing", "raises")
    heartbeat_threshold_s: float = 6.0


@dataclass
class VineTaskPlan:
    """A task of the simulated user. Files by their numbers."""

    id: int
    shape: int
    duration_s: float
    inputs: tuple[int, ...] = ()
    temps: tuple[int, ...] = ()  # that it makes
    home: tuple[int, ...] = ()  # files that it makes, and that come home
    function: int = 0
    end: str = ""  # status that it fails with; "raises"; or empty: it has a result
    kills_library: bool = False
    exhausts: bool = False  # with anything but a whole worker's memory
    spoils: bool = False  # an input, at times

    @property
    def arguments(self) -> Payload:
        """Some are large, and travel in frames of their own."""
        text = f"arguments of {self.id}".encode()
        return (text, b"more") if self.id % 5 == 0 else text

    @property
    def result(self) -> Payload:
        text = f"result of {self.id}".encode()
        return (text, b"more", b"of it") if self.id % 7 == 0 else text

    @property
    def error(self) -> bytes:
        return f"exception of {self.id}".encode()


@dataclass
class LibraryPlan:
    """``fails``: how often a start of it comes to nothing, from 0 to 1."""

    name: str
    slots: int
    fails: float
    files: tuple[int, ...] = ()


LIBRARIES = {
    "good": LibraryPlan("good", 2, 0.0),
    "filed": LibraryPlan("filed", 2, 0.0, (0,)),
    "moody": LibraryPlan("moody", 1, 0.4),
    "broken": LibraryPlan("broken", 2, 1.0),
}


def library_spec(plan: LibraryPlan) -> LibrarySpec:
    """The library as the user installs it."""
    inputs = [Mount(number, "x") for number in plan.files]
    mode = "direct" if plan.slots == 1 else "fork"
    context = CONTEXT if plan.name == "good" else -1
    return LibrarySpec(plan.name, mode, plan.slots, Resources(cores=1), inputs, context_function=context)


def function_of(number: int) -> bytes:
    """A function as it was serialized."""
    return f"function {number}".encode()


def content_of(name: str) -> bytes:
    """A file's content, by the name that it has in caches; its size is said to be 1 MB."""
    return f"content of {name}".encode()


def settings_of(scenario: VineScenario) -> tuple[VineManagerSettings, VineSettings]:
    """What the manager's machine, and its protocol object, are told."""
    machine = VineManagerSettings(
        scenario.heartbeat_threshold_s,
        policy=scenario.policy,
        autolabel=scenario.autolabel,
        autolabel_window=5,
        temp_replicas=scenario.temp_replicas,
        slow_factor=scenario.slow_factor,
        worker_transfers=2 if scenario.peers else 0,
    )
    settings = VineSettings(
        client_address="",
        client_ports=(0, 0),
        worker_address="",
        worker_ports=(0, 0),
        any_port=True,
        cert_dir="",
        password_file=None,
        logdir="",
        debug=False,
        import_paths=["/imports"],
        heartbeat_period_s=2.0,
        heartbeat_threshold_s=scenario.heartbeat_threshold_s,
        worker_timeout_s=0.0,
        peer_transfers=scenario.peers,
        autolabel=scenario.autolabel,
        autolabel_window=5,
        wait_for_workers=0,
        tune={},
        client_name=CLIENT,
    )
    return machine, settings
