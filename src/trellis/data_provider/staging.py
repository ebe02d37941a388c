"""Public name of the interface of staging providers."""

from trellis.staging.base import Staging

__all__ = ["Staging"]
