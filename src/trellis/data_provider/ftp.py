"""Public names of staging over FTP."""

from trellis.staging.ftp import FTPInTaskStaging, FTPSeparateTaskStaging

__all__ = ["FTPInTaskStaging", "FTPSeparateTaskStaging"]
