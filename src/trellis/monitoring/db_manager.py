"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import Database, DatabaseManager, dbm_starter

__all__ = ["Database", "DatabaseManager", "dbm_starter"]
