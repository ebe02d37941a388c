"""Packs environments and modules into archives that workers unpack once. Nothing is installed or changed here.

An archive is named by what is in it: the same content is packed once, and is the same file for all tasks.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from trellis.errors import ConfigurationError
from trellis.executors.taskvine.front.imports import needs_of, places

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Made anew by whoever imports the modules.
_NOT_PACKED = ("__pycache__",)


def pack_environment(env_pack: str, directory: Path) -> Path:
    """The archive of an environment whose ``bin/python`` shall run tasks.

    Args:
        env_pack: an archive in conda-pack's layout, taken as it is; a directory (a virtual environment, a prefix);
            or the name of a conda environment.
        directory: where archives are made.

    A virtual environment is a layer on the interpreter that it was made from: at the workers that one must be in the
    same place. What was installed in an editable way stays where it is. Other directories are packed as they are:
    files that have their place written in them, as conda's do, are fitted only in archives that conda-pack has made.

    Raises:
        ConfigurationError: there is no such thing, or it cannot be packed.
    """
    path = Path(env_pack).expanduser()
    if path.name.endswith(_ARCHIVES):
        if not path.is_file():
            raise ConfigurationError(f"env_pack: there is no archive {path}")
        return path.resolve()
    if path.is_dir():
        if not (path / "bin" / "python").exists():
            raise ConfigurationError(f"env_pack: {path} is no environment: it has no bin/python")
        if (path / "conda-meta").is_dir() and shutil.which("conda-pack") is not None:
            return _pack_conda(["--prefix", str(path)], path.name, directory)
        environment = path.absolute()
        files = {str(file.relative_to(environment)): file for file in _files_below(environment)}
        return _archive(f"env-{environment.name}", files, directory, environment)
    if os.sep in env_pack:
        raise ConfigurationError(f"env_pack: there is neither an archive nor a directory {path}")
    return _pack_conda(["--name", env_pack], env_pack, directory)


def pack_function(func: Callable[..., Any], extra: Sequence[str], directory: Path) -> Path | None:
    """The archive of all that ``func`` imports beyond the standard library and Trellis; None when that is nothing.

    Unpacked, it is a directory for ``sys.path``. Compiled modules need the same Python and the same system there.

    Args:
        extra: distributions or modules to pack as well.
        directory: where archives are made.

    Raises:
        ConfigurationError: one of ``extra`` is not there.
    """
    try:
        needs = needs_of(func, extra)
    except LookupError as error:
        raise ConfigurationError(f"extra_pkgs: {error.args[0]}: install it, or correct its name") from None
    files: dict[str, Path] = {}
    for name in needs.distributions:
        files |= _files_of(importlib.metadata.distribution(name))
    for module in needs.modules:
        for place in places(module):
            files |= {str(path.relative_to(place.parent)): path for path in _files_below(place)}
    return _archive("app", files, directory) if files else None


# -- what goes in --------------------------------------------------------------------------------------------------


def _files_of(distribution: importlib.metadata.Distribution) -> dict[str, Path]:
    """A distribution's files by their place on ``sys.path``; not its commands, which are elsewhere."""
    found = {}
    for file in distribution.files or ():
        path = Path(str(file.locate()))
        if ".." not in file.parts and not set(_NOT_PACKED).intersection(file.parts) and path.is_file():
            found[str(file)] = path
    return found


def _files_below(place: Path) -> Iterator[Path]:
    """Files, and symbolic links as what they are."""
    if not place.is_dir():
        yield place
        return
    for root, directories, files in os.walk(place):
        links = [name for name in directories if os.path.islink(os.path.join(root, name))]
        directories[:] = [name for name in directories if name not in (*_NOT_PACKED, *links)]
        yield from (Path(root, name) for name in (*files, *links))


# -- archives ------------------------------------------------------------------------------------------------------


def _archive(name: str, files: dict[str, Path], directory: Path, environment: Path | None = None) -> Path:
    digest = hashlib.blake2b(digest_size=16)
    for place, path in sorted(files.items()):
        status = path.lstat()
        digest.update(f"{place}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_mode}\n".encode())
    archive = directory / f"{name}-{digest.hexdigest()}.tar"
    if archive.exists():
        return archive
    directory.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(f".{os.getpid()}.part")
    try:
        with tarfile.open(part, "w") as tar:
            for place, path in sorted(files.items()):
                _add(tar, place, path, environment)
        part.rename(archive)
    finally:
        part.unlink(missing_ok=True)
    return archive


def _add(tar: tarfile.TarFile, place: str, path: Path, environment: Path | None) -> None:
    info = tar.gettarinfo(path, place)
    if not (info.isreg() or info.islnk() or info.issym()):
        return
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if info.issym():
        tar.addfile(info)
        return
    data = path.read_bytes()
    if environment is not None and place.startswith("bin/"):
        data = _without_place(data, environment)
    info.type, info.linkname, info.size = tarfile.REGTYPE, "", len(data)
    tar.addfile(info, BytesIO(data))


def _without_place(script: bytes, environment: Path) -> bytes:
    """A command whose first line names the environment's interpreter: it takes the one beside it instead."""
    first, newline, rest = script.partition(b"\n")
    if not first.startswith(b"#!" + os.fsencode(environment) + b"/bin/python"):
        return script
    # For the shell a command, for Python a string.
    return b"#!/bin/sh\n'''exec' \"$(dirname \"$0\")/python\" \"$0\" \"$@\"\n' '''" + newline + rest


# -- conda ---------------------------------------------------------------------------------------------------------


def _pack_conda(words: list[str], name: str, directory: Path) -> Path:
    command = shutil.which("conda-pack")
    if command is None:
        raise ConfigurationError(
            f"env_pack: {name!r} is neither an archive nor a directory here, and conda-pack, which packs environments "
            "of conda by name, is not installed: give the environment's directory, or an archive that conda-pack made"
        )
    directory.mkdir(parents=True, exist_ok=True)
    archive = directory / f"conda-{name}.tar"
    arguments = [command, *words, "--output", str(archive), "--force", "--quiet"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise ConfigurationError(f"env_pack: conda-pack cannot pack {name!r}: {(done.stderr or done.stdout).strip()}")
    return archive
