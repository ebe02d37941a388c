"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import MonitoringRadioReceiver, MonitoringRadioSender, RadioConfig

__all__ = ["MonitoringRadioReceiver", "MonitoringRadioSender", "RadioConfig"]
