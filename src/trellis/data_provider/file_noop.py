"""Public name of staging for shared file systems."""

from trellis.staging.base import Staging
from trellis.staging.noop import NoOpFileStaging
from trellis.utils import RepresentationMixin

__all__ = ["NoOpFileStaging", "RepresentationMixin", "Staging"]
