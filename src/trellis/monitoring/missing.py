"""Stand-ins for what Parsl's monitoring has inside, and Trellis does in another way."""

from collections.abc import Callable
from typing import Any

from trellis.core.missing import Missing, missing_function

_HUB = "Config(monitoring=MonitoringHub()) records a run, over the connections that executors have anyway"
_RADIO = (
    "what tasks use is recorded without it; for messages of your own, give remote_monitoring_radio= a RadioConfig of "
    "your own"
)
_DATABASE = "a process that MonitoringHub starts writes the database; its tables are Parsl's"


class Database(Missing, was="writes what is monitored into tables", instead=_DATABASE): ...


class DatabaseManager(Missing, was="gathers what is monitored for the database", instead=_DATABASE): ...


class MonitoringRouter(Missing, was="receives what radios send", instead=_HUB): ...


class FilesystemRadioSender(Missing, was="sends monitoring messages as files", instead=_RADIO): ...


class HTEXRadioSender(Missing, was="sends monitoring messages through HighThroughputExecutor", instead=_RADIO): ...


class UDPRadioSender(Missing, was="sends monitoring messages over UDP", instead=_RADIO): ...


class ZMQRadioSender(Missing, was="sends monitoring messages over ZeroMQ", instead=_RADIO): ...


class FilesystemRadioReceiver(Missing, was="receives monitoring messages as files", instead=_RADIO): ...


class UDPRadioReceiver(Missing, was="receives monitoring messages over UDP", instead=_RADIO): ...


class ZMQRadioReceiver(Missing, was="receives monitoring messages over ZeroMQ", instead=_RADIO): ...


class Workflow(Missing, was="is a run in the database, for the pages of parsl-visualize", instead=_DATABASE): ...


class Task(Missing, was="is a task in the database, for the pages of parsl-visualize", instead=_DATABASE): ...


class Status(Missing, was="is a state of a task in the database, for parsl-visualize", instead=_DATABASE): ...


class Node(Missing, was="is a node in the database, for the pages of parsl-visualize", instead=_DATABASE): ...


class Resource(Missing, was="is a measurement of a task in the database, for parsl-visualize", instead=_DATABASE): ...


def _measured(name: str) -> Callable[..., Any]:
    return missing_function(name, __name__, was="tells of a task from its worker", instead=_HUB)


def _starter(name: str) -> Callable[..., Any]:
    return missing_function(name, __name__, was="starts what receives monitoring messages", instead=_HUB)


monitor_wrapper = _measured("monitor_wrapper")
monitor = _measured("monitor")
send_first_message = _measured("send_first_message")
send_last_message = _measured("send_last_message")
send_first_last_message = _measured("send_first_last_message")
get_radio = missing_function("get_radio", __name__, was="makes the radio of a task", instead=_RADIO)

dbm_starter = missing_function("dbm_starter", __name__, was="starts what writes the database", instead=_DATABASE)
filesystem_receiver = _starter("filesystem_receiver")
filesystem_router_starter = _starter("filesystem_router_starter")
router_starter = _starter("router_starter")
start_udp_receiver = _starter("start_udp_receiver")
udp_router_starter = _starter("udp_router_starter")
start_zmq_receiver = _starter("start_zmq_receiver")
zmq_router_starter = _starter("zmq_router_starter")
