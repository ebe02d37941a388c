"""Public names of the chooser of staging providers."""

from trellis.staging.data_manager import DataManager, default_staging

__all__ = ["DataManager", "default_staging"]
