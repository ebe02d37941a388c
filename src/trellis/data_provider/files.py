"""Public name of files."""

from trellis.staging.files import File

__all__ = ["File"]
