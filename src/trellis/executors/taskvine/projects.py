"""Managers by name: a directory of small files, one for each project, on a file system that all parties see.

No server, and nothing is sent anywhere: who may read the files may know where a manager is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

import msgspec

from trellis.errors import ConfigurationError

# Another directory than the user's own.
DIRECTORY_VARIABLE = "TRELLIS_PROJECTS_DIR"


class Project(msgspec.Struct):
    """Where the manager of a project is."""

    addresses: list[str]
    port: int
    password_file: str
    pid: int = 0


def projects_directory() -> Path:
    given = os.environ.get(DIRECTORY_VARIABLE)
    return Path(given) if given else Path.home() / ".trellis" / "projects"


def check_name(name: str) -> None:
    """Raises:
    ConfigurationError: a file cannot have this name.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ConfigurationError(f"project_name must be usable as a file's name, not {name!r}")


def announce(name: str, project: Project) -> None:
    """Let others find it; an older project of this name is replaced.

    Raises:
        ConfigurationError: the name, or the directory, cannot be used.
    """
    check_name(name)
    directory = projects_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = directory / f".{name}-{secrets.token_hex(4)}"
        new.write_bytes(msgspec.json.encode(project))
        new.replace(directory / name)
    except OSError as error:
        raise ConfigurationError(f"project_name: {directory} cannot be written to: {error.strerror}") from None


def find(name: str) -> Project:
    """Raises:
    ConfigurationError: there is no such project, or another user has announced it.
    """
    check_name(name)
    directory = projects_directory()
    try:
        return msgspec.json.decode(_read_own(directory / name), type=Project)
    except FileNotFoundError:
        known = ", ".join(projects()) or "none"
        raise ConfigurationError(f"there is no project {name} in {directory}; there is: {known}") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{directory / name} cannot be read: {error}") from None


def _read_own(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & stat.S_IWOTH:
            raise ConfigurationError(
                f"{path} could have been written by another user (number {status.st_uid}, mode "
                f"{stat.S_IMODE(status.st_mode):04o}), whose tasks would run as you: if you mean that, give host, port "
                "and --password-file instead of the project's name"
            )
        return file.read()


def projects() -> list[str]:
    """The names of all."""
    directory = projects_directory()
    if not directory.is_dir():
        return []
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def withdraw(name: str, project: Project) -> None:
    """The manager is gone, unless another one has taken the name."""
    with contextlib.suppress(OSError, ConfigurationError):
        if find(name) == project:
            (projects_directory() / name).unlink()
