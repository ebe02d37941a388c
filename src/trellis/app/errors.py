"""Public names of what apps raise; they are defined in ``trellis.errors``."""

from trellis.errors import (
    AppBadFormatting,
    AppException,
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
    RemoteError,
    RemoteTraceback,
    TrellisError,
)

__all__ = [
    "AppBadFormatting",
    "AppException",
    "AppTimeout",
    "BadStdStreamFile",
    "BashAppNoReturn",
    "BashExitFailure",
    "MissingOutputs",
    "RemoteError",
    "RemoteTraceback",
    "TrellisError",
]
