"""Staging for files that every node sees under the same path: nothing has to be done."""

from __future__ import annotations

from trellis.staging.base import Staging
from trellis.staging.files import File


class NoOpFileStaging(Staging):
    """Takes ``file:`` URLs and plain paths as they are."""

    def can_stage_in(self, file: File) -> bool:
        return file.scheme == "file"

    def can_stage_out(self, file: File) -> bool:
        return file.scheme == "file"

    def __repr__(self) -> str:
        return "NoOpFileStaging()"
