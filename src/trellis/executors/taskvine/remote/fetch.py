"""What would hold up a worker or a manager, as a process of its own: downloads, archives, files on their last way.

``download URL PATH VERSION``, ``unpack ARCHIVE DIRECTORY``, ``fit ARCHIVE DIRECTORY`` (an environment, in which
``conda-unpack`` is run), ``place ARRIVED HOME`` and ``place-directory ARRIVED HOME``. What goes wrong is told on
standard error, with exit code 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from trellis.executors.taskvine.remote import trees
from trellis.executors.taskvine.remote.runner import hold_lifeline


def download(url: str, path: Path, version: str = "") -> None:
    """Raises:
    OSError: the URL cannot be read to its end, or the file not be written.
    """
    from trellis.core.download import read_url  # here: most of what it brings along is for downloads alone

    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        read_url(url, file, version)
    part.rename(path)


def unpack(archive: Path, directory: Path) -> None:
    """A tar archive, compressed or not, as tasks will see it. It is data: nothing in it is run.

    Raises:
        OSError: it cannot be read, has something special in it, would write elsewhere, or cannot be written.
        tarfile.TarError: it is no tar archive.
    """
    trees.remove(directory)
    modes = trees.unpack(archive, directory)
    protect_all(directory)
    trees.give_modes(directory, modes)


def fit(archive: Path, directory: Path) -> None:
    """The archive of an environment, which is fitted to its place if conda-pack has made it.

    Raises:
        OSError, tarfile.TarError: as ``unpack``.
        subprocess.CalledProcessError: it cannot be fitted to its place.
    """
    trees.remove(directory)
    modes = trees.unpack(archive, directory)
    command = directory / "bin" / "conda-unpack"
    if command.exists():
        # By the interpreter that is in there: the script's first line is among what it has to fit.
        subprocess.run([directory / "bin" / "python", command], check=True)
    protect_all(directory)
    trees.give_modes(directory, modes)


def place(arrived: Path, home: Path) -> None:
    """Put a file that has come home in its place.

    Raises:
        OSError: it cannot be there.
    """
    trees.move(arrived, home)


def place_directory(archive: Path, home: Path) -> None:
    """Put a directory that has come home, as an archive, in its place: what else is there stays.

    Raises:
        OSError: it cannot be there; what is there is as it was, or has some of its files already.
        tarfile.TarError: it is no tar archive.
    """
    unpacked = archive.with_name(f"{archive.name}.d")
    try:
        modes = trees.unpack(archive, unpacked)
        there = {"."} if home.exists() else set()
        home.mkdir(exist_ok=True)
        there |= trees.merge(unpacked, home)
        trees.give_modes(home, {name: mode for name, mode in modes.items() if name not in there})
        archive.unlink()
    finally:
        trees.remove(unpacked)


def protect_all(directory: Path) -> None:
    """Nobody may write to the files in there; there may be new ones."""
    for path, _, files in os.walk(directory):
        for file in files:
            protect(Path(path, file))


def protect(path: Path) -> None:
    """Nobody may write to this file. The superuser may all the same: so its tasks get copies, with the file's mode."""
    if os.geteuid() and not path.is_symlink():
        path.chmod(path.stat().st_mode & ~0o222)


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.remote.fetch ACTION SOURCE TARGET [VERSION LIFELINE]``."""
    action, source, target, version, lifeline = (*sys.argv[1:], "", "")[:5]
    if lifeline:
        hold_lifeline(int(lifeline))
    try:
        if action == "download":
            download(source, Path(target), version)
        else:
            _ACTIONS[action](Path(source), Path(target))
    except Exception as error:  # a broken archive may raise anything
        # A URL, which may have a password in it, is named by who could not read it.
        about = "" if action == "download" else f"{source}: "
        print(f"{about}{error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


_ACTIONS = {"unpack": unpack, "fit": fit, "place": place, "place-directory": place_directory}


if __name__ == "__main__":
    sys.exit(main())
