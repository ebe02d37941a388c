"""Where Parsl's workers keep a queue for monitoring messages: there is none."""

from typing import Any

result_queue: Any = None

__all__ = ["result_queue"]
