"""A real interchange with hundreds of simulated managers, many of which are broken, each in its own way."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from benchmarks import many_managers

from tests.simulation.simulated_manager import registration
from trellis.core.interfaces import Attempt, Outcome
from trellis.errors import ManagerLost
from trellis.executors.htex.parsl_commands import INTERCHANGE_COMMAND
from trellis.executors.htex.settings import Settings
from trellis.executors.htex.submit.client import InterchangeCallbacks, InterchangeClient
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import create_keys, load_client_keys
from trellis.wire.codec import Decoder, encode_header, pack
from trellis.wire.messages import (
    DismissManager,
    Heartbeat,
    Message,
    Refused,
    Results,
    Tasks,
    TasksStarted,
    ToManager,
    Welcome,
)
from trellis.wire.payload import dump_result

# Only a failing test waits this long.
PATIENCE_S = 30.0
THRESHOLD_S = 5.0
BEAT_S = 0.5
WORKERS = 4
# Fewer descriptors than managers: the interchange has to ask for more.
FEW_DESCRIPTORS = 64


class Member:
    """A manager that does all as it should."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        self.name = name
        self.welcomed = self.closed = self.dismissed = self.refused = False
        self.got: list[int] = []
        self.started: set[int] = set()
        self.endpoint = ClientEndpoint(crowd.context, crowd.keys, name.encode())
        self.endpoint.connect(crowd.url)
        self.register()

    def register(self) -> None:
        self.send(registration(self.name, "0", WORKERS, prefetch=2 * WORKERS))

    def send(self, message: Message) -> None:
        self.endpoint.send([encode_header(message)])

    def beat(self) -> None:
        if self.welcomed:
            self.send(Heartbeat())

    def close(self) -> None:
        self.closed = True
        self.endpoint.close()

    def on_message(self, message: Message) -> None:
        match message:
            case Welcome():
                self.welcomed = True
            case Refused():
                self.refused = True
                self.close()
            case DismissManager():
                self.dismissed = True
                self.close()
            case Tasks(ids=ids):
                self.got += ids
                self.on_tasks(ids)

    def start(self, ids: list[int]) -> None:
        """Say that these may have started."""
        self.started.update(ids)
        self.send(TasksStarted(self.name, ids))

    def on_tasks(self, ids: list[int]) -> None:
        self.start(ids)
        count = len(ids)
        sizes, frames = pack([dump_result(id_) for id_ in ids])
        header = Results(self.name, ids, [], [0] * count, [time.time()] * count, [0.01] * count, sizes)
        self.endpoint.send([encode_header(header), *frames])


class Silent(Member):
    """Takes its first tasks, and is never heard of again."""

    def beat(self) -> None:
        if not self.got:
            super().beat()

    def on_tasks(self, ids: list[int]) -> None:
        self.start(ids[::2])


class Quitter(Member):
    """Dies of its first tasks."""

    def on_tasks(self, ids: list[int]) -> None:
        self.start(ids[::2])
        self.close()


class Babbler(Member):
    """Answers tasks with what is no message."""

    def on_tasks(self, ids: list[int]) -> None:
        if not self.started:  # what it says later comes after it was given up
            self.start(ids[::2])
            self.endpoint.send([b"\xff" * 100, b"what?"])


class Mumbler(Member):
    """Begins with what is no message."""

    def register(self) -> None:
        self.endpoint.send([b""])


class Forgetful(Member):
    """Begins anew when it has its first tasks; from then on it is as good as others."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        self.began_anew = self.is_anew = False
        self.forgotten: set[int] = set()  # tasks that it had started before
        super().__init__(crowd, name)

    def on_message(self, message: Message) -> None:
        if self.welcomed and isinstance(message, Welcome):
            self.is_anew = True
            self.forgotten = set(self.started)
        super().on_message(message)

    def on_tasks(self, ids: list[int]) -> None:
        if self.is_anew:
            super().on_tasks(ids)
        elif not self.began_anew:
            self.began_anew = True
            self.start(ids[::2])
            self.register()


KINDS: list[type[Member]] = [Member, Silent, Member, Quitter, Babbler, Member, Mumbler, Forgetful]
# Nobody has to wait until these are taken for dead.
QUICK_KINDS = [kind for kind in KINDS if kind is not Silent]


class Crowd:
    """All managers, run by the test's own thread."""

    def __init__(self, port: int, cert_dir: Path) -> None:
        self.context = new_context()
        self.keys = load_client_keys(cert_dir)
        self.url = f"tcp://127.0.0.1:{port}"
        self.members: dict[int, Member] = {}
        self.poll = select.epoll()
        self.decoder: Decoder[Message] = Decoder(ToManager)
        self.next_beat = time.monotonic() + BEAT_S

    def add(self, member: Member) -> None:
        fd = member.endpoint.fileno()
        self.members[fd] = member
        self.poll.register(fd, select.EPOLLIN)
        self.read(fd)

    def read(self, fd: int) -> None:
        member = self.members[fd]
        while not member.closed and (frames := member.endpoint.receive()) is not None:
            member.on_message(self.decoder.decode(frames[0]))
        if member.closed:
            del self.members[fd]

    def run_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it does not happen"
            for fd, _ in self.poll.poll(0.05):
                if fd in self.members:
                    self.read(fd)
            if time.monotonic() >= self.next_beat:
                self.next_beat += BEAT_S
                for fd, member in list(self.members.items()):
                    member.beat()
                    self.read(fd)

    def leave(self) -> None:
        for member in self.members.values():
            member.close()
        self.members.clear()

    def close(self) -> None:
        self.leave()
        self.poll.close()
        self.context.term()


class Side:
    """The submit side, and all it is told."""

    def __init__(self, directory: Path) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.joined: list[str] = []
        self.lost: list[str] = []
        self.cert_dir = directory / "keys"
        create_keys(self.cert_dir)
        settings = Settings(
            client_address="127.0.0.1",
            client_ports=(20_000, 30_000),
            worker_address="127.0.0.1",
            worker_ports=(20_000, 30_000),
            cert_dir=str(self.cert_dir),
            logdir=str(directory),
            debug=False,
            heartbeat_threshold_s=THRESHOLD_S,
            selection="random",
            import_paths=[],
        )
        callbacks = InterchangeCallbacks(
            lambda message: self.joined.append(message.manager),
            lambda message: self.lost.append(message.manager),
            lambda message: None,
            lambda error: None,
        )
        limited = ["sh", "-c", f'ulimit -Sn {FEW_DESCRIPTORS}; exec "$@"', "sh", *INTERCHANGE_COMMAND]
        self.client = InterchangeClient("many", limited, settings, callbacks)
        before = set(psutil.Process().children())
        self.port = self.client.start().worker
        (self.interchange,) = set(psutil.Process().children()) - before

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        for attempt, outcome in outcomes:
            assert attempt.executor_id not in self.outcomes, "a task has two outcomes"
            self.outcomes[attempt.executor_id] = outcome

    def begun(self, attempts: object) -> None:
        """Not looked at."""

    def submit(self, count: int) -> None:
        for _ in range(count):
            self.client.submit(Attempt(os.getpid, (), {}, sink=self), 0)


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    side = Side(tmp_path)
    yield side
    side.client.close(PATIENCE_S)


@pytest.fixture
def crowd(side: Side) -> Iterator[Crowd]:
    crowd = Crowd(side.port, side.cert_dir)
    yield crowd
    crowd.close()


def run_tasks(side: Side, crowd: Crowd, tag: str, kinds: Sequence[type[Member]], each: int, tasks: int) -> list[Member]:
    """So many managers of each kind get tasks; returns when each task has its outcome."""
    side.outcomes.clear()
    members = [kind(crowd, f"{tag}-{number}-{place}") for number in range(each) for place, kind in enumerate(kinds)]
    for member in members:
        crowd.add(member)
    introduced = {member.name for member in members if type(member) is not Mumbler}
    crowd.run_until(lambda: introduced <= set(side.joined))
    side.submit(tasks)
    crowd.run_until(lambda: len(side.outcomes) == tasks)
    return members


def test_what_the_broken_ones_have_started_is_lost_and_the_live_ones_do_the_rest(side: Side, crowd: Crowd) -> None:
    members = run_tasks(side, crowd, "m", KINDS, 40, 10_000)
    lost: set[int] = set()
    for member in members:
        if isinstance(member, Forgetful):
            lost |= member.forgotten
        elif type(member) is not Member:
            lost |= member.started
        assert member.got or type(member) is Mumbler, f"{member.name} got nothing"
    assert lost
    assert {id_ for id_, outcome in side.outcomes.items() if isinstance(outcome.exception, ManagerLost)} == lost
    assert {id_ for id_, outcome in side.outcomes.items() if outcome.exception is not None} == lost
    done = [id_ for member in members if type(member) is Member for id_ in member.got]
    assert len(done) == len(set(done)), "a task was run twice"
    broken = {member.name for member in members if type(member) not in (Member, Mumbler)}
    assert broken == set(side.lost)


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_the_interchange_keeps_nothing_of_managers_that_are_gone(side: Side, crowd: Crowd) -> None:
    descriptors = side.interchange.num_fds()
    memory = []
    for tag in ("first", "second", "third"):
        run_tasks(side, crowd, tag, QUICK_KINDS, 30, 5_000)
        crowd.leave()
        crowd.run_until(lambda: len(side.lost) == len(side.joined))
        crowd.run_until(lambda: side.interchange.num_fds() <= descriptors + 1)
        status = side.client.status(PATIENCE_S)
        assert (status.pending, status.running, status.managers) == (0, 0, [])
        memory.append(side.interchange.memory_info().rss)
    # A manager takes about 40 kB, of which the allocator may use a part again only later.
    assert memory[2] - memory[0] < 12_000_000


def test_managers_are_reported_before_the_first_task(side: Side, crowd: Crowd) -> None:
    crowd.add(Member(crowd, "early"))
    crowd.run_until(lambda: side.joined == ["early"])


def test_all_are_dismissed_when_the_executor_is_shut_down(side: Side, crowd: Crowd) -> None:
    members = [Member(crowd, f"m-{number}") for number in range(300)]
    for member in members:
        crowd.add(member)
    crowd.run_until(lambda: len(side.joined) == 300)
    side.client.close(PATIENCE_S)
    crowd.run_until(lambda: all(member.dismissed for member in members))


def test_the_benchmark_gives_every_figure() -> None:
    figures = many_managers.run(quick=True, managers=[2, 5])
    assert [column["managers"] for column in figures["by_managers"]] == [2, 5]
    for column in figures["by_managers"]:
        assert column["tasks_per_s"] > 0
        assert column["fds_left"] < 5
    assert figures["queued"] == 50_000
    many_managers.table(figures)
