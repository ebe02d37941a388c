"""Public names of what apps raise; they are defined in ``trellis.errors``."""

from trellis.app.exception_wrapping import RemoteExceptionWrapper, wrap_error
from trellis.errors import (
    AppBadFormatting,
    AppException,
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
    ParslError,
    RemoteError,
    RemoteTraceback,
    TrellisError,
)
from trellis.staging.files import File

__all__ = [
    "AppBadFormatting",
    "AppException",
    "AppTimeout",
    "BadStdStreamFile",
    "BashAppNoReturn",
    "BashExitFailure",
    "File",
    "MissingOutputs",
    "ParslError",
    "RemoteError",
    "RemoteExceptionWrapper",
    "RemoteTraceback",
    "TrellisError",
    "wrap_error",
]
