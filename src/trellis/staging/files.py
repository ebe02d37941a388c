"""``File``: a name for data that may have to be moved before it can be opened. Moves nothing itself."""

from __future__ import annotations

import copy
import os
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from trellis.core.kinds import Path
from trellis.core.validation import check, knows_former_names
from trellis.core.values import shown
from trellis.errors import ParameterValueError


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:  # brackets that are no address
        raise ParameterValueError(f"File: url must be a path or a URL, not {shown(url)}: {error}") from None


class File:
    """A file, named by a URL or a path; a plain path is a ``file:`` URL.

    Attributes:
        url: as it was given, as a str.
        scheme, netloc, path: parts of the URL; ``scheme`` is ``"file"`` for a plain path.
        filename: last part of ``path``.
        local_path: where staging has put the file for a task; None when it has not been staged. It is valid on the
            side where the task runs, and nowhere else.
    """

    @knows_former_names(scheme="it is part of the URL")
    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url: str = check("File", "url", url, Path(any_bytes=True))
        parts = _split(self.url) if isinstance(url, str) else None
        if parts is not None and parts.scheme:
            # In a file: URL, as pathlib makes them, %20 is a space. What other servers do with it is their business.
            path = unquote(parts.path) if parts.scheme == "file" else parts.path
            self.scheme, self.netloc, self.path = parts.scheme, parts.netloc, path
        else:
            # A path is taken as it is: '#' and '?' are ordinary characters in it.
            self.scheme, self.netloc, self.path = "file", "", self.url
        self.filename = os.path.basename(self.path)
        self.local_path: str | None = None

    def cleancopy(self) -> Self:
        """The file as it was named, without what staging has noted on it."""
        clean = copy.copy(self)
        clean.local_path = None
        return clean

    @property
    def filepath(self) -> str:
        """Path for ``open``.

        Raises:
            ValueError: the file is remote and has not been staged.
        """
        if self.local_path is not None:
            return self.local_path
        if self.scheme == "file":
            return self.path
        raise ValueError(f"{self.url} has no local path: it has not been staged for a task")

    def __fspath__(self) -> str:
        return self.filepath

    def __str__(self) -> str:
        return self.filepath

    def __repr__(self) -> str:
        names = ("url", "scheme", "netloc", "path", "filename", "local_path")
        known = " ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name))
        return f"<{type(self).__name__} at 0x{id(self):x} {known}>"
