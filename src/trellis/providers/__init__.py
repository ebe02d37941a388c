"""Where blocks of nodes come from."""

from trellis.providers.base import ExecutionProvider
from trellis.providers.local.local import LocalProvider

__all__ = ["ExecutionProvider", "LocalProvider"]
