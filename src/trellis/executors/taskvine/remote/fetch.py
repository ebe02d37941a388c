"""Gets and unpacks files for a worker, as a process of its own. Nothing else.

``download URL PATH`` and ``unpack ARCHIVE DIRECTORY``; what goes wrong is told on standard error, with exit code 1.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

# A server that says nothing for so long is given up.
_TIMEOUT_S = 60.0


def download(url: str, path: Path) -> None:
    """Raises:
    OSError: the URL cannot be read, or the file not be written.
    """
    part = path.with_name(path.name + ".part")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, open(part, "wb") as file:
        shutil.copyfileobj(response, file, 2**20)
    part.rename(path)


def unpack(archive: Path, directory: Path) -> None:
    """A tar archive, compressed or not.

    Raises:
        OSError: it cannot be read, or the files not be written.
        tarfile.TarError: it is no tar archive, or one that would write elsewhere.
    """
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with tarfile.open(archive) as tar:
        # Permissions and links as packed, but nothing outside of the directory.
        tar.extractall(part, filter="tar")
    part.rename(directory)


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.remote.fetch``."""
    action, source, target = sys.argv[1:]
    try:
        if action == "download":
            download(source, Path(target))
        else:
            unpack(Path(source), Path(target))
    except (OSError, ValueError, tarfile.TarError) as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
