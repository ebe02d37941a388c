"""Seams of users' own radios: classes, as in newer releases of Parsl, that bring monitoring messages to the program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class MonitoringRadioSender(ABC):
    """Sends monitoring messages, from wherever it is made."""

    @abstractmethod
    def send(self, message: object) -> None:
        """Send a pair of a ``MessageType`` and what there is to say of it."""


class MonitoringRadioReceiver(ABC):
    """Receives in the program what senders have sent."""

    @abstractmethod
    def shutdown(self) -> None:
        """Receive no more."""


class RadioConfig(ABC):
    """A way for messages, as ``remote_monitoring_radio=`` of an executor; it can be pickled.

    When the run is recorded, ``create_receiver`` is called before the executor starts, and the receiver is shut down
    after it has ended.
    """

    @abstractmethod
    def create_receiver(self, *, run_dir: str, resource_msgs: Any) -> MonitoringRadioReceiver:
        """Begin to receive: ``resource_msgs.put(message)`` records a message, from any thread of this process."""

    @abstractmethod
    def create_sender(self) -> MonitoringRadioSender:
        """Make a sender, perhaps in another process, after ``create_receiver`` was called."""
