"""Public path of a radio; see ``trellis.monitoring.radios.configs`` and ``missing``."""

from trellis.monitoring.missing import UDPRadioSender
from trellis.monitoring.radios.configs import UDPRadio

__all__ = ["UDPRadio", "UDPRadioSender"]
