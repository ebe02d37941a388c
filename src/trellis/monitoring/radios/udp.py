"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import UDPRadio, UDPRadioSender

__all__ = ["UDPRadio", "UDPRadioSender"]
