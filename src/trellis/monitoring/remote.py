"""Public path of stand-ins; they are made in ``trellis.monitoring.missing``."""

from trellis.monitoring.missing import get_radio, monitor_wrapper

__all__ = ["get_radio", "monitor_wrapper"]
