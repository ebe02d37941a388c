"""Public name of staging by rsync."""

from trellis.staging.base import Staging
from trellis.staging.rsync import RSyncStaging
from trellis.utils import RepresentationMixin

__all__ = ["RSyncStaging", "RepresentationMixin", "Staging"]
