"""Public path of the seams of radios; they are made in ``trellis.core.radios``."""

from trellis.core.radios import MonitoringRadioReceiver, MonitoringRadioSender, RadioConfig

__all__ = ["MonitoringRadioReceiver", "MonitoringRadioSender", "RadioConfig"]
