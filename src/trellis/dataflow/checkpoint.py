"""Results on disk: an append-only file that is readable up to the last whole record, whenever its writer was killed.

The file is ``<run directory>/checkpoint/tasks.ckpt``: a line that names the format, then records. A record is a header
(key, length and CRC of the payload, CRC of all that) and a payload, the pickled result. Opening a checkpoint reads the
headers only. This module does not know what keys mean and never decides what is written.
"""

from __future__ import annotations

import logging
import os
import pickle
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple
from zlib import crc32

from trellis.errors import BadCheckpoint
from trellis.wire import payload as wire_payload

logger = logging.getLogger(__name__)

CHECKPOINT_DIRECTORY = "checkpoint"
CHECKPOINT_FILE = "tasks.ckpt"
_PARSLS_FILE = "tasks.pkl"

_MAGIC = b"trellis checkpoint 1\n"
_ANY_MAGIC = b"trellis checkpoint "
# Key (20 bytes), length of the payload, CRC-32 of the payload; then the CRC-32 of these three.
_FIELDS = struct.Struct("<20sQI")
_HEADER_CRC = struct.Struct("<I")
_HEADER_BYTES = _FIELDS.size + _HEADER_CRC.size


class Record(NamedTuple):
    """Where the result for a key lies; reading it is left until it is needed."""

    key: str  # 40 hexadecimal digits
    path: str
    offset: int  # of the payload
    size_bytes: int
    crc: int

    def read(self) -> bytes:
        """The pickled result.

        Raises:
            OSError: the file cannot be read.
            ValueError: the payload is damaged.
        """
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            payload = file.read(self.size_bytes)
        if len(payload) != self.size_bytes or crc32(payload) != self.crc:
            raise ValueError(f"the record at byte {self.offset} of {self.path} is damaged")
        return payload


def dump_result(result: object) -> bytes:
    """The result as a payload.

    Classes of the user's script are named, not copied: the next run of the script has its own.

    Raises:
        Exception: whatever the result's own pickling raises.
    """
    try:
        return pickle.dumps(result, 5)
    except Exception:
        return wire_payload.dumps(result)


load_result = wire_payload.loads


# -- reading ---------------------------------------------------------------------------------------------------


def read_index(path: str) -> tuple[list[Record], int]:
    """All whole records of a checkpoint file, in order, and the offset where they end.

    What follows a damaged header, and a last record that was cut short, is left out with a warning in the log.

    Raises:
        BadCheckpoint: the file cannot be read or is no checkpoint of this format.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            magic = file.read(len(_MAGIC))
            if magic != _MAGIC:
                _refuse_unless_cut_short(path, magic)
                return [], 0
            records: list[Record] = []
            end = len(_MAGIC)
            while header := file.read(_HEADER_BYTES):
                record = _parse_header(path, end, header)
                if record is None or record.offset + record.size_bytes > size:
                    logger.warning(
                        "Checkpoint %s is damaged at byte %d of %d: the %d results before it are used",
                        *(path, end, size, len(records)),
                    )
                    break
                records.append(record)
                end = record.offset + record.size_bytes
                file.seek(end)
    except OSError as error:
        raise BadCheckpoint(f"cannot read checkpoint {path}: {error}") from error
    return records, end


def _refuse_unless_cut_short(path: str, magic: bytes) -> None:
    if _MAGIC.startswith(magic):
        logger.warning("Checkpoint %s is empty: its writer was stopped too early", path)
    elif magic.startswith(_ANY_MAGIC):
        raise BadCheckpoint(f"{path} was written by another version of Trellis, in a format that this one cannot read")
    else:
        raise BadCheckpoint(f"{path} is not a checkpoint of Trellis")


def _parse_header(path: str, start: int, header: bytes) -> Record | None:
    if len(header) < _HEADER_BYTES:
        return None
    if _HEADER_CRC.unpack_from(header, _FIELDS.size)[0] != crc32(header[: _FIELDS.size]):
        return None
    key, size_bytes, crc = _FIELDS.unpack_from(header)
    return Record(key.hex(), path, start + _HEADER_BYTES, size_bytes, crc)


def load_checkpoints(checkpoints: Sequence[str | os.PathLike[str]]) -> dict[str, Record]:
    """Records of several checkpoints, by key; of two for the same key the later one counts.

    Args:
        checkpoints: checkpoint directories, or the files in them.

    Raises:
        BadCheckpoint: one of them is missing, though not because its run had no results, or is no checkpoint.
    """
    found: dict[str, Record] = {}
    for checkpoint in checkpoints:
        path = os.fspath(checkpoint)
        if _is_of_a_run_without_results(path):
            if os.path.exists(os.path.join(path, _PARSLS_FILE)):
                # On the console, too: who expects results of Parsl's would wait for hours without them.
                warnings.warn(f"Checkpoint {path} is of Parsl, which cannot be read: its calls run again", stacklevel=2)
            else:
                logger.warning("There are no results in checkpoint %s: its run has written none", path)
            continue
        if os.path.isdir(path):
            path = os.path.join(path, CHECKPOINT_FILE)
        records, _ = read_index(path)
        found.update((record.key, record) for record in records)
    return found


def _is_of_a_run_without_results(path: str) -> bool:
    """Whether a run directory is there, but its checkpoint is not: it is made with the first result."""
    path = os.path.abspath(path)
    directory = os.path.dirname(path) if os.path.basename(path) == CHECKPOINT_FILE else path
    made = os.path.exists(path) if directory != path else os.path.exists(os.path.join(path, CHECKPOINT_FILE))
    is_of_run = os.path.basename(directory) == CHECKPOINT_DIRECTORY and os.path.isdir(os.path.dirname(directory))
    return is_of_run and not made


def load_all_checkpoints(run_dir: str) -> dict[str, Record]:
    """Records of all runs below ``run_dir``; checkpoints that cannot be read are left out with a warning."""
    found: dict[str, Record] = {}
    for checkpoint in get_all_checkpoints(run_dir):
        try:
            found.update(load_checkpoints([checkpoint]))
        except BadCheckpoint as error:
            logger.warning("Left out: %s", error)
    return found


def _runs(rundir: str) -> Iterator[str]:
    """Directories of runs, oldest first."""
    try:
        names = os.listdir(rundir)
    except (FileNotFoundError, NotADirectoryError):
        return
    # Run directories are numbered with leading zeros, but 1000 follows 999.
    for name in sorted(names, key=lambda name: (name.isdigit(), len(name) if name.isdigit() else 0, name)):
        path = os.path.join(rundir, name)
        if os.path.isdir(path):
            yield path


def _checkpoint_of(run: str) -> str | None:
    path = os.path.abspath(os.path.join(run, CHECKPOINT_DIRECTORY))
    return path if os.path.isfile(os.path.join(path, CHECKPOINT_FILE)) else None


def get_all_checkpoints(rundir: str = "runinfo") -> list[str]:
    """Paths of the checkpoints of all runs below ``rundir``, oldest first, as ``checkpoint_files`` takes them."""
    return [path for run in _runs(rundir) if (path := _checkpoint_of(run))]


def get_last_checkpoint(rundir: str = "runinfo") -> list[str]:
    """Path of the checkpoint of the last run below ``rundir``; empty when that run has written none.

    A run's checkpoint holds every result that it made or took from an older checkpoint.
    """
    return [path for run in list(_runs(rundir))[-1:] if (path := _checkpoint_of(run))]


# -- writing ---------------------------------------------------------------------------------------------------


class CheckpointWriter:
    """Appends records to the checkpoint of a run. The file is made with the first record. Not thread-safe."""

    def __init__(self, run_dir: str) -> None:
        self.directory = os.path.abspath(os.path.join(run_dir, CHECKPOINT_DIRECTORY))
        self._path = os.path.join(self.directory, CHECKPOINT_FILE)
        self._fd: int | None = None
        self._end = 0  # of the last whole record

    def append(self, key: str, payload: bytes) -> None:
        """Hand a record to the operating system: it survives this process from now on.

        Raises:
            OSError: it could not be written; the file is as good as before.
            BadCheckpoint: there is a file in the way that is no checkpoint.
        """
        fd = self._fd if self._fd is not None else self._open()
        fields = _FIELDS.pack(bytes.fromhex(key), len(payload), crc32(payload))
        header = fields + _HEADER_CRC.pack(crc32(fields))
        self._write(fd, header + payload)

    def sync(self) -> None:
        """Have the disk take what was appended: it survives the machine from now on."""
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        os.makedirs(self.directory, exist_ok=True)
        self._end = read_index(self._path)[1] if os.path.exists(self._path) else 0
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.ftruncate(fd, self._end)
            if self._end == 0:
                self._write(fd, _MAGIC)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        return fd

    def _write(self, fd: int, data: bytes) -> None:
        """Write all of it at the end, or leave the end where it is."""
        view, offset = memoryview(data), self._end
        try:
            while view:
                count = os.pwrite(fd, view, offset)
                view, offset = view[count:], offset + count
        except OSError:
            with suppress(OSError):
                os.ftruncate(fd, self._end)
            raise
        self._end = offset
