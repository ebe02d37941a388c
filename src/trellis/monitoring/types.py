"""Types of monitoring messages, for annotations of Parsl's programs."""

from typing import Any, TypeAlias

from trellis.monitoring.message_type import MessageType

MonitoringMessage: TypeAlias = dict[str, Any]
TaggedMonitoringMessage: TypeAlias = tuple[MessageType, MonitoringMessage]

__all__ = ["MessageType", "MonitoringMessage", "TaggedMonitoringMessage"]
