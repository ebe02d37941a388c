"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import FilesystemRadioReceiver, filesystem_router_starter

__all__ = ["FilesystemRadioReceiver", "filesystem_router_starter"]
