"""Public names of the futures of apps; they are defined in ``trellis.futures``."""

from concurrent.futures import Future

from trellis.futures import AppFuture, DataFuture
from trellis.staging.files import File

__all__ = ["AppFuture", "DataFuture", "File", "Future"]
