"""Runs one task in an interpreter of its own: reads function and arguments, writes the result. Nothing else.

Only the standard library is imported here, and cloudpickle when a function or a result needs it: this is started for
every task, also on hosts where Trellis is not installed. What is written is what ``trellis.wire.payload`` reads.

``python runner.py FUNCTION ARGUMENTS RESULT``: paths of files.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import time
from typing import Any

Buffers = tuple[Any, ...]

_HEAD = struct.Struct("<cIdd")  # kind, number of buffers, time of start (seconds since the epoch), duration in seconds
_LENGTH = struct.Struct("<Q")
RESULT, ERROR, CALL = b"R", b"E", b"C"
# Smaller buffers stay within the pickle.
_INLINE_BYTES = 65_536


def write_payload(path: str, kind: bytes, buffers: Buffers, started: float = 0.0, duration_s: float = 0.0) -> None:
    """A payload's buffers into a file, which is there whole or not at all."""
    with open(path + ".part", "wb") as file:
        file.write(_HEAD.pack(kind, len(buffers), started, duration_s))
        file.write(b"".join([_LENGTH.pack(memoryview(buffer).nbytes) for buffer in buffers]))
        for buffer in buffers:
            file.write(buffer)
    os.rename(path + ".part", path)


def read_payload(path: str) -> tuple[bytes, Buffers, float, float]:
    """Kind, buffers, time of start and duration.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not what ``write_payload`` writes.
    """
    with open(path, "rb") as file:
        return parse_payload(file.read())


def parse_payload(data: bytes) -> tuple[bytes, Buffers, float, float]:
    """As ``read_payload``, of a file's content.

    Raises:
        ValueError: it is not what ``write_payload`` writes.
    """
    try:
        kind, count, started, duration_s = _HEAD.unpack_from(data)
        offset = _HEAD.size + count * _LENGTH.size
        lengths = [_LENGTH.unpack_from(data, _HEAD.size + n * _LENGTH.size)[0] for n in range(count)]
    except struct.error:
        raise ValueError("a payload is cut off") from None
    if offset + sum(lengths) != len(data):
        raise ValueError(f"a payload of {len(data)} bytes should have {offset + sum(lengths)}")
    buffers = []
    for length in lengths:
        buffers.append(bytearray(data[offset : offset + length]))
        offset += length
    return kind, tuple(buffers), started, duration_s


def load_result_file(path: str) -> Any:
    """The value that another task has left in a file."""
    return _load(read_payload(path)[1])


def _load(buffers: Buffers) -> Any:
    return pickle.loads(buffers[0], buffers=buffers[1:])


def _dump(value: object) -> Buffers:
    found: list[Any] = []

    def keep_out(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= _INLINE_BYTES:
            return True
        found.append(raw)
        return False

    try:
        data = pickle.dumps(value, 5, buffer_callback=keep_out)
        by_value = b"__main__" in data
    except Exception:
        by_value = True
    if by_value:
        import cloudpickle  # type: ignore[import-untyped]

        found.clear()
        data = cloudpickle.dumps(value, 5, buffer_callback=keep_out)
    return (data, *found)


def _dump_exception(exception: BaseException) -> Buffers:
    import traceback

    trace = exception.__traceback__
    # Without the frames of this file.
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(exception), exception, trace))
    try:
        data = _dump(exception)
        if len(data) > 1 or not isinstance(_load(data), BaseException):
            raise TypeError
        inner = bytes(data[0])
    except BaseException:
        name = f"{type(exception).__module__}.{type(exception).__qualname__}"
        inner = _remote_error(name, str(exception), text)
    return (pickle.dumps((inner, text), 5),)


def _remote_error(name: str, message: str, text: str) -> bytes:
    """A pickled ``trellis.errors.RemoteError``, made without importing Trellis."""
    arguments = pickle.dumps((name, message, text), 2)
    # GLOBAL, the tuple without its PROTO and STOP, REDUCE, STOP: pickle protocol 2.
    return b"\x80\x02ctrellis.errors\nRemoteError\n" + arguments[2:-1] + b"R."


def main() -> None:
    """Entry point."""
    function_path, arguments_path, result_path = sys.argv[1:4]
    for path in filter(None, os.environ.pop("TRELLIS_IMPORT_PATHS", "").split(os.pathsep)):
        if path not in sys.path:
            sys.path.append(path)
    started, begin = time.time(), time.perf_counter()
    kind = RESULT
    try:
        function = _load(read_payload(function_path)[1])
        args, kwargs = _load(read_payload(arguments_path)[1])
        buffers = _dump(function(*args, **kwargs))
    except BaseException as error:  # sys.exit() in a task ends the task with this error
        kind, buffers = ERROR, _dump_exception(error)
    write_payload(result_path, kind, buffers, started, time.perf_counter() - begin)
    for output in (sys.stdout, sys.stderr):
        try:
            output.flush()
        except Exception:  # a task may have closed or replaced it
            continue
    os._exit(0)  # threads that the task left behind must not keep the process alive


if __name__ == "__main__":
    main()
