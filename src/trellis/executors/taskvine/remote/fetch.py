"""Gets and unpacks files for a worker, as a process of its own. Nothing else.

``download URL PATH`` and ``unpack ARCHIVE DIRECTORY``; what goes wrong is told on standard error, with exit code 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from trellis.executors.taskvine.remote.runner import hold_lifeline

# A server that says nothing for so long is given up.
_TIMEOUT_S = 60.0


def download(url: str, path: Path) -> None:
    """Raises:
    OSError: the URL cannot be read, or the file not be written.
    """
    import urllib.request  # here: most of what it brings along is for downloads alone

    part = path.with_name(path.name + ".part")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, open(part, "wb") as file:
        shutil.copyfileobj(response, file, 2**20)
    part.rename(path)


def unpack(archive: Path, directory: Path) -> None:
    """A tar archive, compressed or not; one that conda-pack has made is fitted to its new place.

    Raises:
        OSError: it cannot be read, or the files not be written.
        tarfile.TarError: it is no tar archive, or one that would write elsewhere.
        subprocess.CalledProcessError: it cannot be fitted to its place.
    """
    shutil.rmtree(directory, ignore_errors=True)
    with tarfile.open(archive) as tar:
        # Permissions and links as packed, but nothing outside of the directory.
        tar.extractall(directory, filter="tar")
    fit = directory / "bin" / "conda-unpack"
    if fit.exists():
        # By the interpreter that is in there: the script's first line is among what it has to fit.
        subprocess.run([directory / "bin" / "python", fit], check=True)
    protect_all(directory)


def protect_all(directory: Path) -> None:
    """Nobody may write to the files in there; there may be new ones."""
    for place, _, files in os.walk(directory):
        for file in files:
            protect(Path(place, file))


def protect(path: Path) -> None:
    """Nobody may write to this file (but the superuser)."""
    if not path.is_symlink():
        path.chmod(path.stat().st_mode & ~0o222)


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.remote.fetch ACTION SOURCE TARGET [LIFELINE]``."""
    action, source, target, *lifeline = sys.argv[1:]
    if lifeline:
        hold_lifeline(int(lifeline[0]))
    try:
        if action == "download":
            download(source, Path(target))
        else:
            unpack(Path(source), Path(target))
    except (OSError, ValueError, tarfile.TarError, subprocess.CalledProcessError) as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
