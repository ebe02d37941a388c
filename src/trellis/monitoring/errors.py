"""Exceptions of Parsl's monitoring, which programs name in ``except``; Trellis does not raise them yet."""

from trellis.errors import TrellisError


class MonitoringHubStartError(TrellisError):
    """The monitoring hub did not start (Parsl until 2025.01)."""

    def __str__(self) -> str:
        return "the monitoring hub did not start"


class MonitoringRouterStartError(TrellisError):
    """What receives monitoring messages did not start (newer releases of Parsl)."""

    def __str__(self) -> str:
        return "the receiver of monitoring messages did not start"


class RadioRequiredError(TrellisError):
    """Tasks are to be monitored where they run, and nothing says how their messages get home."""

    def __str__(self) -> str:
        return "monitoring of tasks needs a radio of their executor"
