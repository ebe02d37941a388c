"""Public names of staging with zip archives."""

from trellis.staging.zip import ZipAuthorityError, ZipFileStaging, zip_path_split

__all__ = ["ZipAuthorityError", "ZipFileStaging", "zip_path_split"]
