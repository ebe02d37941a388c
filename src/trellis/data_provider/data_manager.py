"""Public names of the chooser of staging providers."""

from trellis.staging.base import DataManager
from trellis.staging.default import default_staging

__all__ = ["DataManager", "default_staging"]
