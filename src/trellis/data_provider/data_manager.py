"""Public names of the chooser of staging providers."""

from trellis.futures import DataFuture
from trellis.staging.base import DataManager, Staging
from trellis.staging.default import default_staging
from trellis.staging.files import File
from trellis.staging.ftp import FTPSeparateTaskStaging
from trellis.staging.http import HTTPSeparateTaskStaging
from trellis.staging.noop import NoOpFileStaging
from trellis.staging.zip import ZipFileStaging

__all__ = [
    "DataFuture",
    "DataManager",
    "FTPSeparateTaskStaging",
    "File",
    "HTTPSeparateTaskStaging",
    "NoOpFileStaging",
    "Staging",
    "ZipFileStaging",
    "default_staging",
]
