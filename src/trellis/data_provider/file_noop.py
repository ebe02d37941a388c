"""Public name of staging for shared file systems."""

from trellis.staging.noop import NoOpFileStaging

__all__ = ["NoOpFileStaging"]
