"""Public names of staging with zip archives."""

from trellis.errors import ParslError
from trellis.staging.base import Staging
from trellis.staging.files import File
from trellis.staging.zip import ZipAuthorityError, ZipFileStaging, zip_path_split

__all__ = ["File", "ParslError", "Staging", "ZipAuthorityError", "ZipFileStaging", "zip_path_split"]
