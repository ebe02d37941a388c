"""Directories of a run, and what to try where they cannot be had. Makes nothing."""

from __future__ import annotations

import errno
import os

from trellis.errors import ConfigurationError

_ADVICE = {
    errno.ENOSPC: "the disk is full: free space there, or choose another run_dir in Config",
    errno.EDQUOT: "your quota is used up: free space there, or choose another run_dir in Config",
    errno.EROFS: "the file system cannot be written to: choose another run_dir in Config",
    errno.EACCES: "it is not allowed: choose another run_dir in Config",
}
# When the directory itself is made; later, the same may be said of other things.
_ADVICE_OF_MAKING = {
    errno.ENOENT: "choose a run_dir in Config that can be made",
    errno.EEXIST: "there is a file of that name: choose another run_dir in Config",
    errno.ENOTDIR: "a part of the path is a file: choose another run_dir in Config",
}


def absolute(path: str) -> str:
    """An absolute path.

    Raises:
        ConfigurationError: it is relative to a working directory that does not exist any more.
    """
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise ConfigurationError(
            f"the working directory of this program has been deleted, so {path!r} is nowhere: change to a directory "
            "that exists (cd, os.chdir) before you start it, and give run_dir of Config as an absolute path"
        ) from None


def explained(error: OSError, directory: str, making: bool = False) -> OSError:
    """The same error, saying what the directory was for and what to try; ``making``: it could not be made."""
    number = error.errno or 0
    advice = _ADVICE.get(number) or (_ADVICE_OF_MAKING.get(number) if making else None)
    if advice is None:
        return error
    said = f"the run cannot start in {directory}: {error.strerror}; {advice}"
    return type(error)(error.errno, said, error.filename or directory)
