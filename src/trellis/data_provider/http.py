"""Public names of staging over HTTP."""

from trellis.staging.base import Staging
from trellis.staging.http import HTTPInTaskStaging, HTTPSeparateTaskStaging
from trellis.utils import RepresentationMixin

__all__ = ["HTTPInTaskStaging", "HTTPSeparateTaskStaging", "RepresentationMixin", "Staging"]
