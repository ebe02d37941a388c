"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import FilesystemRadio, FilesystemRadioReceiver, FilesystemRadioSender

__all__ = ["FilesystemRadio", "FilesystemRadioReceiver", "FilesystemRadioSender"]
