"""Public path of a radio; see ``trellis.monitoring.radios.configs`` and ``missing``."""

from trellis.monitoring.missing import HTEXRadioSender
from trellis.monitoring.radios.configs import HTEXRadio, HTEXRadioReceiver

__all__ = ["HTEXRadio", "HTEXRadioReceiver", "HTEXRadioSender"]
