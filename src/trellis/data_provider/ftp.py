"""Public names of staging over FTP."""

from trellis.staging.base import Staging
from trellis.staging.ftp import FTPInTaskStaging, FTPSeparateTaskStaging
from trellis.utils import RepresentationMixin

__all__ = ["FTPInTaskStaging", "FTPSeparateTaskStaging", "RepresentationMixin", "Staging"]
