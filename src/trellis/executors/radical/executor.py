"""Public path of stand-ins; they are made in ``trellis.executors.missing``."""

from trellis.executors.missing import RadicalPilotExecutor, ResourceConfig

__all__ = ["RadicalPilotExecutor", "ResourceConfig"]
