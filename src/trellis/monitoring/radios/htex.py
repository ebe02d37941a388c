"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import HTEXRadio, HTEXRadioReceiver, HTEXRadioSender

__all__ = ["HTEXRadio", "HTEXRadioReceiver", "HTEXRadioSender"]
