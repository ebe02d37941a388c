"""Executors and radios that programs bring along send messages of Parsl's monitoring: they are recorded."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from trellis.core.interfaces import ExecutorContext
from trellis.core.measurements import BlockSeen, Measurement, NodeSeen, TaskSample
from trellis.errors import NotInTrellis, ParameterTypeError, ParameterValueError
from trellis.executors import HighThroughputExecutor, MPIExecutor, ThreadPoolExecutor
from trellis.executors.adapter import adapt, start, stop
from trellis.executors.base import ParslExecutor
from trellis.executors.monitoring_messages import MonitoringMessages, measurements_of
from trellis.executors.taskvine import TaskVineExecutor
from trellis.launchers import SimpleLauncher
from trellis.monitoring.message_type import MessageType
from trellis.monitoring.radios.base import MonitoringRadioReceiver, MonitoringRadioSender, RadioConfig
from trellis.monitoring.radios.filesystem import FilesystemRadio
from trellis.monitoring.radios.htex import HTEXRadio
from trellis.monitoring.radios.multiprocessing import MultiprocessingQueueRadio, MultiprocessingQueueRadioSender
from trellis.monitoring.radios.udp import UDPRadio
from trellis.providers import LocalProvider

WHEN = dt.datetime(2026, 5, 4, 12, 30, 15, 250_000)
BLOCK = {"block_id": "3", "status": "RUNNING", "job_id": 4711, "timestamp": WHEN, "executor_label": "mine"}
NODE = {
    "run_id": "r",
    "uid": "m1",
    "hostname": "nid7",
    "block_id": "3",
    "cpu_count": 64,
    "total_memory": 2**38,
    "active": True,
    "worker_count": 8,
    "python_v": "3.11.7",
    "timestamp": WHEN,
    "last_heartbeat": WHEN + dt.timedelta(seconds=5),
}
RESOURCE = {
    "run_id": "r",
    "task_id": 7,
    "try_id": 1,
    "timestamp": WHEN,
    "psutil_process_pid": 99,
    "psutil_process_memory_percent": 1.5,
    "psutil_process_children_count": 2,
    "psutil_process_time_user": 3.25,
    "psutil_process_time_system": 0.5,
    "psutil_process_memory_virtual": 2**33,
    "psutil_process_memory_resident": 2**28,
    "psutil_process_disk_read": 5,
    "psutil_process_disk_write": 6,
    "psutil_process_status": "sleeping",
    "psutil_cpu_num": 3,
    "psutil_process_num_ctx_switches_voluntary": 100,
    "psutil_process_num_ctx_switches_involuntary": 7,
    "psutil_process_nice": 0,
}


class Record:
    interval_s = 1.0

    def __init__(self) -> None:
        self.taken: list[Measurement] = []

    def take(self, batch: Sequence[Measurement]) -> None:
        self.taken += batch


class Mine(ParslExecutor):
    """In Parsl's style."""

    label = "mine"

    def __init__(self) -> None:
        super().__init__()
        self.receivers: list[Any] = []

    def start(self) -> None:
        if self.submit_monitoring_radio:
            self.submit_monitoring_radio.send((MessageType.BLOCK_INFO, [BLOCK]))
            self.monitoring_messages.put((MessageType.NODE_INFO, NODE))

    def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        raise NotImplementedError

    def shutdown(self) -> None:
        self.receivers.append(self.monitoring_receiver)


class Whisper(RadioConfig):
    """A radio of a program's own, within its process."""

    def __init__(self) -> None:
        self.ended = False
        self.queue: Any = None
        self.run_dir = ""

    def create_receiver(self, *, run_dir: str, resource_msgs: Any) -> MonitoringRadioReceiver:
        self.queue, self.run_dir = resource_msgs, run_dir
        return _Ear(self)

    def create_sender(self) -> MonitoringRadioSender:
        return _Mouth(self)


class _Ear(MonitoringRadioReceiver):
    def __init__(self, radio: Whisper) -> None:
        self.radio = radio

    def shutdown(self) -> None:
        assert not self.radio.ended
        self.radio.ended = True


class _Mouth(MonitoringRadioSender):
    def __init__(self, radio: Whisper) -> None:
        self.radio = radio

    def send(self, message: object) -> None:
        self.radio.queue.put_nowait(message)


SEEN_BLOCK = BlockSeen("mine", "3", "4711", "RUNNING", WHEN.timestamp())
SEEN_NODE = NodeSeen("mine", "m1", "nid7", "3", 64, 2**38, True, 8, "3.11.7", WHEN.timestamp(), WHEN.timestamp() + 5)


def test_what_an_executor_in_parsls_style_sends_is_recorded() -> None:
    record, mine = Record(), Mine()
    executor = adapt(mine)
    start(executor, ExecutorContext(measurements=record))
    assert record.taken == [SEEN_BLOCK, SEEN_NODE]
    stop(executor)


def test_without_a_record_it_is_given_nothing() -> None:
    mine = Mine()
    mine.remote_monitoring_radio = radio = Whisper()
    executor = adapt(mine)
    start(executor, ExecutorContext())
    assert (mine.monitoring_messages, mine.submit_monitoring_radio, radio.queue) == (None, None, None)
    stop(executor)


LOCAL = LocalProvider(launcher=SimpleLauncher())


def _mine(radio: RadioConfig) -> Mine:
    mine = Mine()
    mine.remote_monitoring_radio = radio
    return mine


@pytest.mark.parametrize("kind", ["own", "threads", "HTEX", "MPI", "TaskVine"])
def test_a_radio_of_a_programs_own_is_heard_until_the_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for ours in (HighThroughputExecutor, TaskVineExecutor):  # they need not run for this
        monkeypatch.setattr(ours, "start", lambda self, context=None: None)
        monkeypatch.setattr(ours, "shutdown", lambda self: None)
    makers: dict[str, Callable[[RadioConfig], Any]] = {
        "own": _mine,
        "threads": lambda radio: ThreadPoolExecutor(remote_monitoring_radio=radio),
        "HTEX": lambda radio: HighThroughputExecutor(remote_monitoring_radio=radio),
        "MPI": lambda radio: MPIExecutor(provider=LOCAL, remote_monitoring_radio=radio),
        "TaskVine": lambda radio: TaskVineExecutor(engine="embedded", remote_monitoring_radio=radio),
    }
    record, radio = Record(), Whisper()
    executor = adapt(makers[kind](radio))
    start(executor, ExecutorContext(run_dir="/runs/000", measurements=record))
    assert radio.run_dir == "/runs/000"
    record.taken.clear()
    radio.create_sender().send((MessageType.RESOURCE_INFO, RESOURCE))
    (sample,) = record.taken
    assert isinstance(sample, TaskSample)
    expected = (99, 1.5, 2, 3.25, 0.5, 2**33, 2**28, 5, 6, "sleeping", "3", 100, 7)
    assert sample[1:] == (WHEN.timestamp(), *expected)
    key: Any = sample.attempt
    assert (key.key.id, key.key.try_id) == (7, 1)
    assert not radio.ended
    stop(executor)
    assert radio.ended


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, HighThroughputExecutor, MPIExecutor, TaskVineExecutor])
def test_what_is_no_radio_is_refused(kind: Any) -> None:
    with pytest.raises(ParameterTypeError, match="remote_monitoring_radio"):
        kind(remote_monitoring_radio="udp")


@pytest.mark.parametrize("kind", [MessageType.TASK_INFO, MessageType.WORKFLOW_INFO, MessageType.WORKER_TASK_INFO])
def test_what_the_kernel_knows_itself_is_nothing_new(kind: MessageType) -> None:
    assert measurements_of((kind, {"task_id": 1}), "mine") == []


def test_a_block_alone_and_what_is_not_said() -> None:
    bare = {"block_id": 0, "status": "PENDING"}
    (block,) = measurements_of((MessageType.BLOCK_INFO, bare), "mine")
    assert isinstance(block, BlockSeen)
    assert block[:4] == ("mine", "0", None, "PENDING")
    (node,) = measurements_of((MessageType.NODE_INFO, {"uid": "m"}), "mine")
    assert isinstance(node, NodeSeen)
    assert node[:9] == ("mine", "m", "", "", 0, 0, True, 0, "")
    assert node.last_heard > 1.7e9


NONSENSE = [
    None,
    "a text",
    (),
    (1, 2),
    (MessageType.BLOCK_INFO, None),
    (MessageType.BLOCK_INFO, [{}]),
    (MessageType.NODE_INFO, {"uid": "m", "cpu_count": "many"}),
    (MessageType.RESOURCE_INFO, {"task_id": None}),
]


@pytest.mark.parametrize("message", NONSENSE)
def test_nonsense_is_left_out_and_told_once(message: object, caplog: pytest.LogCaptureFixture) -> None:
    record = Record()
    queue = MonitoringMessages("mine", record)
    queue.put(message)
    queue.put(message)
    assert not record.taken
    assert [entry.message for entry in caplog.records if "cannot be recorded" in entry.message] == [
        caplog.records[0].message
    ]
    queue.put((MessageType.BLOCK_INFO, [BLOCK]), block=False, timeout=1.0)
    assert record.taken == [SEEN_BLOCK]
    assert (queue.qsize(), queue.empty()) == (0, True)


def test_the_queue_says_that_it_is_for_threads() -> None:
    with pytest.raises(TypeError, match="threads of this process only"):
        pickle.dumps(MonitoringMessages("mine", Record()))


# -- radios of Parsl's ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radio", [HTEXRadio(), FilesystemRadio(), UDPRadio(address="127.0.0.1")], ids=repr)
def test_radios_that_are_not_needed_are_accepted(radio: RadioConfig) -> None:
    executor = adapt(_mine(pickle.loads(pickle.dumps(radio))))
    start(executor, ExecutorContext(measurements=Record()))
    stop(executor)
    with pytest.raises(NotInTrellis, match="recorded without it"):
        radio.create_sender()


def test_a_radio_over_udp_checks_its_parameters() -> None:
    radio = UDPRadio(address="host", port=7, atexit_timeout=1, debug=True, hmac_digest="sha256")
    assert (radio.address, radio.port, radio.atexit_timeout, radio.debug) == ("host", 7, 1, True)
    assert "hmac_digest='sha256'" in repr(radio)
    with pytest.raises(ParameterTypeError, match="port"):
        UDPRadio(address="host", port="7")  # type: ignore[arg-type]
    with pytest.raises(ParameterValueError, match="hmac_digest"):
        UDPRadio(address="host", hmac_digest="none")


def test_a_queue_within_the_program_is_a_radio() -> None:
    record, radio = Record(), MultiprocessingQueueRadio()
    executor = adapt(_mine(radio))
    start(executor, ExecutorContext(measurements=record))
    record.taken.clear()
    sender = radio.create_sender()
    assert isinstance(sender, MultiprocessingQueueRadioSender)
    sender.send((MessageType.BLOCK_INFO, [BLOCK]))
    assert record.taken == [SEEN_BLOCK]
    stop(executor)
