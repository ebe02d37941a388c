"""Public name of the interface of staging providers."""

from concurrent.futures import Future

from trellis.futures import DataFuture
from trellis.staging.base import Staging
from trellis.staging.files import File

__all__ = ["DataFuture", "File", "Future", "Staging"]
