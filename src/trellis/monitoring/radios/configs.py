"""Radios of Parsl's that ``remote_monitoring_radio=`` accepts.

What tasks use comes on the connections that executors have anyway, whatever radio is asked for: these have nothing to
do, so nothing listens, and no files are written. A radio of the program's own does what it says.
"""

from __future__ import annotations

import hashlib
from typing import Any

from trellis.core.kinds import Flag, OrNone, Text
from trellis.core.missing import not_in_trellis
from trellis.core.radios import MonitoringRadioReceiver, MonitoringRadioSender, RadioConfig
from trellis.core.validation import check_all
from trellis.core.values import Duration, Kind, Number, ValueRefused
from trellis.utils import RepresentationMixin


class _Digest(Text):
    """Name of a hash function."""

    def __call__(self, value: Any) -> str:
        name = super().__call__(value)
        if name not in hashlib.algorithms_available:
            raise ValueRefused("the name of a hash function, such as 'sha512'")
        return name


_OF_UDP: dict[str, Kind] = {
    "address": Text(empty=False, lines=False),
    "port": OrNone(Number(least=0, most=65_535, whole=True)),
    "atexit_timeout": Duration(least=0),
    "debug": Flag(),
    "hmac_digest": _Digest(),
}


class IdleReceiver(MonitoringRadioReceiver):
    """Has nothing to receive."""

    def shutdown(self) -> None:
        """Do nothing."""


class IdleRadio(RadioConfig, RepresentationMixin):
    """Base of radios that are accepted, and have nothing to do."""

    def create_receiver(self, *, run_dir: str, resource_msgs: Any) -> MonitoringRadioReceiver:
        return IdleReceiver()

    def create_sender(self) -> MonitoringRadioSender:
        """Raises:
        NotInTrellis: nothing would receive what is sent.
        """
        raise not_in_trellis(
            f"{type(self).__name__}.create_sender",
            "sends monitoring messages from a worker",
            "what tasks use is recorded without it; for messages of your own, give remote_monitoring_radio= a "
            "RadioConfig of your own",
        )


class HTEXRadio(IdleRadio):
    """Asks for messages over the connections of HighThroughputExecutor: they are used in any case."""


class FilesystemRadio(IdleRadio):
    """Asks for messages as files in the run directory; none are written."""


class UDPRadio(IdleRadio):
    """Asks for messages over UDP; nothing listens.

    Args:
        port, atexit_timeout, address, debug, hmac_digest: as in Parsl; they are checked, and have no effect.

    Raises:
        ParameterTypeError: a parameter has the wrong type.
        ParameterValueError: it has a value that cannot work.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        atexit_timeout: int = 3,
        address: str,
        debug: bool = False,
        hmac_digest: str = "sha512",
    ) -> None:
        self.port = port
        self.atexit_timeout = atexit_timeout
        self.address = address
        self.debug = debug
        self.hmac_digest = hmac_digest
        check_all(self, _OF_UDP)


class MultiprocessingQueueRadioSender(MonitoringRadioSender, RepresentationMixin):
    """Puts messages into a queue."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def send(self, message: object) -> None:
        self.queue.put(message)


class MultiprocessingQueueRadio(RadioConfig):
    """Puts messages into the program's queue; for senders in the program itself, as tasks in threads have them."""

    def create_receiver(self, *, run_dir: str, resource_msgs: Any) -> MonitoringRadioReceiver:
        self._queue = resource_msgs
        return MultiprocessingQueueRadioReceiver()

    def create_sender(self) -> MonitoringRadioSender:
        return MultiprocessingQueueRadioSender(self._queue)


class MultiprocessingQueueRadioReceiver(IdleReceiver):
    """Has nothing to receive: messages are put where they belong."""


class HTEXRadioReceiver(IdleReceiver):
    """Has nothing to receive."""
