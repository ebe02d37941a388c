"""Public name of staging by rsync."""

from trellis.staging.rsync import RSyncStaging

__all__ = ["RSyncStaging"]
