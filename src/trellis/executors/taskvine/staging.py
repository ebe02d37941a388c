"""Leaves to TaskVine what TaskVine moves by itself. Moves nothing here."""

from __future__ import annotations

from trellis.executors.taskvine.files import TEMP_SCHEME
from trellis.staging.base import Staging
from trellis.staging.default import default_staging
from trellis.staging.files import File


class TaskVineStaging(Staging):
    """URLs are fetched by the workers that need them, and temporary files stay there."""

    def can_stage_in(self, file: File) -> bool:
        return file.scheme in ("http", "https", "ftp", TEMP_SCHEME)

    def can_stage_out(self, file: File) -> bool:
        return file.scheme == TEMP_SCHEME

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def taskvine_staging() -> list[Staging]:
    """What a TaskVineExecutor has unless its user says otherwise."""
    return [TaskVineStaging(), *default_staging]
