"""One instance of each message, and strategies that make any. Every message that exists is in here: see ``ALL``."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from trellis.wire.codec import PAIRS, PER_TASK
from trellis.wire.measures import Sample, TaskSamples, TaskUse
from trellis.wire.messages import (
    CancelTasks,
    CheckTasks,
    DefineFunctions,
    Demand,
    DismissManager,
    DrainBlocks,
    Draining,
    ForgetFunctions,
    FromManager,
    FromSubmitSide,
    Goodbye,
    Heartbeat,
    HoldManagers,
    ManagerJoined,
    ManagerLoss,
    ManagerPutAside,
    ManagerRefused,
    Message,
    Notice,
    Packages,
    PackagesRequest,
    Received,
    ReceivedUpTo,
    Refused,
    Register,
    RegisterAgain,
    Results,
    ResumeEnd,
    ReturnTasks,
    Shutdown,
    Tasks,
    TasksCancelled,
    TasksMissing,
    TasksOverMemory,
    TasksRefused,
    TasksReturned,
    TasksRunning,
    TasksStarted,
    TasksTimedOut,
    TasksUnfit,
    TasksWithdrawn,
    ToManager,
    ToSubmitSide,
    Welcome,
    WitnessReport,
    WorkerLoss,
)
from trellis.wire.questions import (
    ManagerStatus,
    Obstacle,
    StandingAtManager,
    StandingReply,
    StandingRequest,
    StatusReply,
    StatusRequest,
)

DIRECTIONS: dict[str, Any] = {
    "FromSubmitSide": FromSubmitSide,
    "FromManager": FromManager,
    "ToManager": ToManager,
    "ToSubmitSide": ToSubmitSide,
}
# Every message that can be sent (``ManagerStatus`` and ``Demand`` are only ever parts of one).
ALL: list[type[Message]] = sorted(
    {type_ for union in DIRECTIONS.values() for type_ in get_args(union)},
    key=lambda type_: int(str(type_.__struct_config__.tag)),
)

EXAMPLES: list[Message] = [
    DefineFunctions(ids=[0, 300], sizes=[1_200, -1]),
    ForgetFunctions(ids=[7]),
    Tasks(
        ids=[1, 2, 70_000],
        functions=[0, 0, 300],
        sizes=[12, 0, -3],
        priorities=[0.0, -1.5, 0.0],
        walltimes_s=None,
        demands=[None, Demand(cores=2.0, memory_mb=512.0, gpus=0.5, nodes=1, launcher_options="--bind core"), None],
        resumed=True,
    ),
    CancelTasks(ids=[2]),
    HoldManagers(managers=["a1b2c3"], blocks=["0", "1"]),
    StatusRequest(request=5),
    Shutdown(),
    Received(managers=["a1b2c3"], sequences=[64]),
    ResumeEnd(managers=["a1b2c3"], held_managers=[], held_blocks=["1"]),
    PackagesRequest(request=6),
    DrainBlocks(blocks=["1"]),
    StandingRequest(request=7, id=70_000),
    Register(
        protocol=3,
        manager="a1b2c3",
        block="0",
        hostname="nid0042",
        pid=4_242,
        workers=32,
        capacity=40,
        trellis_version="0.1.0",
        python_version="3.12.1",
        start_time=1_700_000_000.5,
        cpus=32,
        memory_bytes=2**37,
        directory="/scratch/größe",
        gpus=4,
        nodes=2,
        ends_in_s=3_600.0,
        resumed=True,
        holding=[1, 70_000],
        started=[1],
        memory="a boot 25 1000",
        witnessed=True,
    ),
    Results(
        manager="a1b2c3",
        ids=[1, 2],
        failed=[1],
        workers=[0, 31],
        started=[1_700_000_001.25, 1_700_000_002.0],
        durations_s=[0.5, 0.0],
        sizes=[5, -2],
        sequence=1,
        used=[None, TaskUse(1.5, 0.25, 2**28, 70_000, 0)],
    ),
    WorkerLoss("a1b2c3", id=2, worker=31, hostname="nid0042", reason="killed by signal 9 (SIGKILL)", sequence=2),
    TasksTimedOut(manager="a1b2c3", ids=[1], walltimes_s=[2.5], sequence=3),
    TasksCancelled(ids=[1, 2], manager="a1b2c3", sequence=300),
    Heartbeat(),
    Draining(manager="a1b2c3"),
    Goodbye(manager="a1b2c3", reason="drained"),
    TasksReturned(manager="a1b2c3", ids=[3, 70_000]),
    TasksStarted(manager="a1b2c3", ids=[3, 70_000]),
    Welcome(import_paths=["/home/user/project"]),
    Refused(reason="it speaks another protocol"),
    DismissManager(reason="the executor is shut down"),
    ReturnTasks(count=300),
    RegisterAgain(),
    CheckTasks(ids=[1, 2]),
    ReceivedUpTo(sequence=64),
    ManagerJoined(
        manager="a1b2c3",
        block="0",
        hostname="nid0042",
        workers=32,
        cpus=64,
        memory_bytes=2**37,
        python_version="3.12.1",
        start_time=1_700_000_000.5,
    ),
    ManagerLoss("a1b2c3", block="0", hostname="nid0042", ids=[1, 2], reason="its connection closed", requeued=3),
    ManagerRefused(manager="a1b2c3", hostname="nid0042", reason="versions", versions=("0.1.0", "0.2.0")),
    StatusReply(
        request=5,
        pending=10,
        running=1,
        managers=[
            ManagerStatus(
                manager="a1b2c3",
                block="0",
                hostname="nid0042",
                workers=32,
                capacity=40,
                tasks=1,
                idle_s=0.0,
                active=True,
                draining=False,
                last_heard_s=0.25,
                start_time=1_700_000_000.5,
                trellis_version="0.1.0",
                python_version="3.12.1",
                busy=1,
                begun=1,
                state="held",
            )
        ],
        blocks=["0"],
    ),
    TasksUnfit(ids=[1], reason="it needs 8 cores, and the largest node has 4"),
    ManagerPutAside(manager="a1b2c3", block="0", hostname="nid0042", reason="its workers die"),
    Notice(text="the user's own manager selector fails"),
    TasksRefused(ids=[1, 2], reason="a walltime of inf", manager="a1b2c3", sequence=5),
    StandingReply(
        request=7,
        stage="queued",
        text="2 tasks are before it",
        position=2,
        queue=10,
        manager="",
        obstacles=[Obstacle("manager a1b2c3", "all workers are busy", "when one of its tasks has ended")],
    ),
    TasksMissing(manager="a1b2c3", ids=[2]),
    TasksOverMemory(manager="a1b2c3", ids=[1], limits_mb=[100.0], peaks_mb=[120.5], sequence=4),
    Packages(manager="a1b2c3", request=6, names=["numpy"], versions=["2.1.0"]),
    TasksWithdrawn(manager="a1b2c3", ids=[4, 70_001]),
    WitnessReport(manager="a1b2c3", running=[3], unstarted=[4, 5]),
    TasksRunning(manager="a1b2c3", ids=[1, 70_000], workers=[0, 31], started=[1_700_000_001.25, 1_700_000_002.0]),
    StandingAtManager(
        manager="a1b2c3",
        request=7,
        stage="running",
        text="worker 31 runs it",
        worker=31,
        started=1_700_000_002.0,
        obstacles=[],
    ),
    TaskSamples(
        manager="a1b2c3",
        ids=[1],
        samples=[Sample(4_300, 1.5, 2, 3.25, 0.5, 2**33, 2**28, 5_000, 70_000, "sleeping", "3", 100, 7)],
        at=1_700_000_030.5,
        left_out=4,
    ),
]

_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_FLOATS = st.floats(allow_nan=False)
_FINITE, _AMOUNTS, _COUNTS = st.floats(-1e15, 1e15), st.floats(0, 1e15), st.integers(0, 2**31)
_BYTES = st.integers(0, 2**62 - 1)
_DEMANDS = st.none() | st.builds(Demand, cores=_AMOUNTS, nodes=_COUNTS, launcher_options=st.text())
_TEXTS = [st.text()] * 2
_SAMPLES = st.builds(Sample, _COUNTS, _AMOUNTS, _COUNTS, _AMOUNTS, _AMOUNTS, *[_BYTES] * 4, *_TEXTS, *[_BYTES] * 2)
_ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "Demand": _DEMANDS,
    "TaskUse": st.none() | st.builds(TaskUse, _AMOUNTS, _AMOUNTS, _BYTES, _BYTES, _BYTES),
    "Sample": _SAMPLES,
    "Finite": _FINITE,
    "Amount": _AMOUNTS,
    "Number": st.integers(0, 2**62 - 1),
    "float": _FLOATS,
    "int": _INTEGERS,
}
# Lists of a message about tasks that have one element per task.
_COLUMNS = {"ids", *PER_TASK}


def any_message(type_: type[Message]) -> st.SearchStrategy[Message]:
    """Valid messages of one type."""
    return st.integers(0, 5).flatmap(lambda count: _with_columns(type_, count))


def _with_columns(type_: type[Message], count: int) -> st.SearchStrategy[Message]:
    fields: dict[str, st.SearchStrategy[Any]] = {}
    about_tasks = "ids" in type_.__struct_fields__
    for name in type_.__struct_fields__:
        hint = type_.__annotations__[name]
        if about_tasks and name in _COLUMNS:
            element = next(strategy for kind, strategy in _ELEMENTS.items() if kind in hint)
            column: st.SearchStrategy[Any] = st.lists(element, min_size=count, max_size=count)
            fields[name] = st.none() | column if "None" in hint else column
        elif name == "failed":
            fields[name] = st.lists(st.integers(0, count - 1), unique=True) if count else st.just([])
        elif name in PAIRS.get(type_, ()):
            one: st.SearchStrategy[Any] = _INTEGERS if "int" in hint else st.text()
            fields[name] = st.lists(one, min_size=count, max_size=count)
        else:
            fields[name] = _VALUES[hint]
    return st.builds(type_, **fields)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": _INTEGERS,
    "float": _FLOATS,
    "Count": _COUNTS,
    "Amount": _AMOUNTS,
    "Finite": _FINITE,
    "Finite | None": st.none() | _FINITE,
    "bool": st.booleans(),
    "str": st.text(),
    "list[int]": st.lists(_INTEGERS),
    "list[str]": st.lists(st.text()),
    "tuple[str, str] | None": st.none() | st.tuples(st.text(), st.text()),
    "list[ManagerStatus]": st.deferred(lambda: st.lists(any_message(ManagerStatus), max_size=3)),
    "list[Obstacle]": st.lists(st.builds(Obstacle, st.text(), st.text(), st.text()), max_size=3),
}
