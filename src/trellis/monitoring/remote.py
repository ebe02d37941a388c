"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.core.radios import RadioConfig
from trellis.monitoring.message_type import MessageType
from trellis.monitoring.missing import (
    get_radio,
    monitor,
    monitor_wrapper,
    send_first_last_message,
    send_first_message,
    send_last_message,
)

__all__ = [
    "MessageType",
    "RadioConfig",
    "get_radio",
    "monitor",
    "monitor_wrapper",
    "send_first_last_message",
    "send_first_message",
    "send_last_message",
]
