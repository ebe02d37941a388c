"""When a manager looks at its tasks, what it says of them, and when it says nothing."""

from __future__ import annotations

import math

from tests.unit.executors.htex.manager.test_protocol import Manager, tasks
from trellis.executors.common.proc_usage import ProcessUse
from trellis.executors.htex.manager.protocol import LookAtTasks
from trellis.executors.htex.manager.task_samples import TaskSampling
from trellis.wire.codec import encode_header
from trellis.wire.measures import Sample, TaskSamples
from trellis.wire.messages import DefineFunctions, Message, TasksCancelled, Welcome

USE = ProcessUse(4_300, 1.5, 2, 3.25, 0.5, 2**33, 2**28, 5_000, 70_000, "sleeping", "3", 100, 7)


def welcomed(every_s: float) -> Manager:
    """A manager with a worker that runs task 1."""
    manager = Manager(workers=2)
    manager.connection(True)
    manager.hear(Welcome([], recorded=True, sample_every_s=every_s))
    manager.hear([encode_header(DefineFunctions([1], [1])), b"f"])
    manager.hear(tasks(1))
    manager.running = {1: (0, 0.0)}
    manager.take_effects()
    manager.take()
    return manager


def at(manager: Manager, now: float) -> list[object]:
    """What it wants at this time that is about samples."""
    manager.now = now
    manager.protocol.on_deadline(now)
    manager.perform()
    return [effect for effect in manager.take_effects() if isinstance(effect, LookAtTasks)]


def samples(manager: Manager) -> list[Message]:
    return [message for message in manager.take() if isinstance(message, TaskSamples)]


def test_tasks_are_looked_at_once_in_each_interval() -> None:
    manager = welcomed(5.0)
    assert at(manager, 4.9) == []
    assert at(manager, 5.0) == [LookAtTasks({1: 0})]
    manager.protocol.on_looked({1: USE}, 1_700_000_000.5, 5.0)
    manager.perform()
    assert samples(manager) == [TaskSamples("m", [1], [Sample(*USE)], 1_700_000_000.5, 0)]
    assert at(manager, 9.9) == []
    assert at(manager, 10.0) == [LookAtTasks({1: 0})]
    manager.running = {}
    assert at(manager, 15.0) == []


def test_without_an_interval_nobody_is_looked_at() -> None:
    manager = welcomed(0.0)
    assert at(manager, 1e6) == []
    sampling = TaskSampling()
    assert sampling.next_deadline() == math.inf
    assert not sampling.is_due(1e9)


def test_without_a_connection_samples_are_left_out_and_counted() -> None:
    manager = welcomed(5.0)
    manager.connection(False)
    assert at(manager, 5.0) == at(manager, 10.0) == []
    manager.connection(True)
    manager.hear(Welcome([], recorded=True, sample_every_s=5.0))
    manager.take()
    assert at(manager, 15.0) == [LookAtTasks({1: 0})]
    manager.protocol.on_looked({}, 1.0, 15.0)
    manager.perform()
    assert samples(manager) == [TaskSamples("m", [], [], 1.0, 2)]


def test_while_the_submit_side_does_not_keep_up_samples_are_left_out() -> None:
    sampling = TaskSampling()
    assert sampling.keeps_up(100, 100, 5.0)
    assert sampling.keeps_up(200, 100, 10.0)  # what was made until then has come
    assert sampling.keeps_up(300, 150, 15.0)  # these may be on their way
    assert not sampling.keeps_up(400, 199, 20.5)
    assert not sampling.keeps_up(400, 199, 30.0)
    assert sampling.keeps_up(400, 200, 35.0)


def test_a_manager_asks_the_reports_whether_it_keeps_up() -> None:
    manager = welcomed(20.0)
    manager.hear(tasks(2))
    manager.worker(0)
    assert len(at(manager, 20.0)) == 1
    manager.protocol._link._report([encode_header(TasksCancelled([], "m", 1))])
    assert len(at(manager, 40.0)) == 1  # it was made since
    assert at(manager, 60.0) == []
    manager.protocol._link.received_up_to(1)
    assert len(at(manager, 80.0)) == 1
