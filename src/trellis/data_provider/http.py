"""Public names of staging over HTTP."""

from trellis.staging.http import HTTPInTaskStaging, HTTPSeparateTaskStaging

__all__ = ["HTTPInTaskStaging", "HTTPSeparateTaskStaging"]
