"""Public path of a radio; see ``trellis.monitoring.radios.configs`` and ``missing``."""

from trellis.monitoring.missing import FilesystemRadioReceiver, FilesystemRadioSender
from trellis.monitoring.radios.configs import FilesystemRadio

__all__ = ["FilesystemRadio", "FilesystemRadioReceiver", "FilesystemRadioSender"]
