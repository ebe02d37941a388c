"""The staging providers of executors that are given none."""

from __future__ import annotations

from trellis.staging.base import Staging
from trellis.staging.ftp import FTPSeparateTaskStaging
from trellis.staging.http import HTTPSeparateTaskStaging
from trellis.staging.noop import NoOpFileStaging
from trellis.staging.zip import ZipFileStaging

# Shared by all executors, so they must know nothing of any. Programs may put others in.
default_staging: list[Staging] = [
    NoOpFileStaging(),
    FTPSeparateTaskStaging(),
    HTTPSeparateTaskStaging(),
    ZipFileStaging(),
]
