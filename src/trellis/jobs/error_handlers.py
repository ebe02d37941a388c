"""Public path of the block error handlers."""

from trellis.blocks.error_handlers import noop_error_handler, simple_error_handler, windowed_error_handler

__all__ = ["noop_error_handler", "simple_error_handler", "windowed_error_handler"]
