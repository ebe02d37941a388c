"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.message_type import MessageType
from trellis.monitoring.missing import Database, DatabaseManager, dbm_starter
from trellis.monitoring.types import MonitoringMessage, TaggedMonitoringMessage

__all__ = ["Database", "DatabaseManager", "MessageType", "MonitoringMessage", "TaggedMonitoringMessage", "dbm_starter"]
