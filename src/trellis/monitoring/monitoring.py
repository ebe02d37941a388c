"""Stand-in for Parsl's monitoring hub: programs may import it, and are told when they make one."""

from typing import Any

from trellis.core.missing import missing

MonitoringHub: Any = missing(
    "MonitoringHub", __name__, "leave out Config(monitoring=...); trellis.log in the run directory tells of the run"
)

__all__ = ["MonitoringHub"]
