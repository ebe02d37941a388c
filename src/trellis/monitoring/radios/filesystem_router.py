"""Public path of a stand-in; it is made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import FilesystemRadioReceiver

__all__ = ["FilesystemRadioReceiver"]
