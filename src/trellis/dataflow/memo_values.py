"""What makes two values the same: ``id_for_memo``, with what is known of builtin types and files. No state but caches.

An identity holds between processes and runs: it knows no ids, no addresses, no set order, no file names or line
numbers. What makes functions and whole calls the same is in ``memo_keys``, which registers functions here.
"""

from __future__ import annotations

import os
import pickle
import stat
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, singledispatch
from hashlib import blake2b
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any

from trellis.errors import SerializationError
from trellis.staging.files import File

# Fixed, so that a newer Python with a newer default protocol finds the old keys.
_PICKLE_PROTOCOL = 5
# 160 bits: two different calls never meet by chance.
_DIGEST_BYTES = 20
# Beyond it a file counts by size and modification time: reading it would take longer than a tenth of a second.
_FILE_CONTENT_LIMIT_BYTES = 64 * 1024 * 1024


def digest(tag: bytes, parts: Iterable[bytes]) -> bytes:
    hasher = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))  # lengths keep ("ab", "c") apart from ("a", "bc")
        hasher.update(part)
    return tag + hasher.digest()


def identity(obj: object, output_ref: bool = False) -> bytes:
    """What ``id_for_memo`` says of a value; a handler of the user's may give a str as well.

    Raises:
        TypeError: a handler gave something else; the message names it.
    """
    found: object = id_for_memo(obj, output_ref=output_ref)
    if type(found) is bytes:
        return found
    if isinstance(found, str):
        return b"S" + found.encode("utf-8", "surrogatepass")
    if isinstance(found, bytes | bytearray):
        return bytes(found)
    handler = getattr(id_for_memo.dispatch(type(obj)), "__qualname__", "?")
    raise TypeError(
        f"{handler}, the handler of id_for_memo for {type(obj).__qualname__}, must give bytes or str, "
        f"not {type(found).__name__}"
    )


@singledispatch
def id_for_memo(obj: object, output_ref: bool = False) -> bytes:
    """Bytes that stand for a value in memoization: equal for equal values, in every process.

    Types without a handler of their own count by their pickle. Give a type a handler with
    ``@id_for_memo.register(T)``; it takes the value and ``output_ref``, which is True for values that name outputs
    of the app (in ``outputs``, ``stdout``, ``stderr``), where there is no content to read yet.

    Raises:
        SerializationError: the value cannot be pickled.
    """
    inner = user_function(obj)
    if inner is not obj:
        return identity(inner)
    hasher = blake2b(digest_size=_DIGEST_BYTES)
    try:
        _CanonicalPickler(obj, hasher.update).dump(obj)
    except Exception as error:
        what = f"a {type(obj).__module__}.{type(obj).__qualname__}"
        raise SerializationError(what, f"{type(error).__name__}: {error}") from error
    return b"p" + hasher.digest()


by_pickle = id_for_memo.dispatch(object)
# Left to pickle when they are inside an object: they have no identity of their own that could differ.
_PLAIN = frozenset({int, float, bool, type(None), bytes, list, tuple, dict})


class _HashWriter:
    __slots__ = ("write",)

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write


class _CanonicalPickler(pickle.Pickler):
    """Writes a pickle that is never read, only hashed; replaces what differs between processes by its identity."""

    def __init__(self, root: object, update: Callable[[bytes], object]) -> None:
        super().__init__(_HashWriter(update), _PICKLE_PROTOCOL)
        self._root = root

    def persistent_id(self, obj: object) -> bytes | None:
        kind = type(obj)
        if kind in _PLAIN:
            return None
        if isinstance(obj, type | ModuleType):  # classes made in functions, too: pickle would refuse them
            return f"{getattr(obj, '__module__', '')}:{getattr(obj, '__qualname__', obj.__name__)}".encode()
        if obj is self._root:
            return None
        if isinstance(obj, FunctionType) and _importable(obj):
            return None  # mostly the reconstructing functions of libraries: their code says nothing about the value
        handler = id_for_memo.dispatch(kind)
        # A string goes through its handler as well: pickle tells one string, met twice, from two equal ones.
        return None if handler is by_pickle else identity(obj)


def _importable(function: FunctionType) -> bool:
    return function.__module__ not in (None, "__main__") and "<" not in function.__qualname__


@id_for_memo.register(type(None))
def _(obj: None, output_ref: bool = False) -> bytes:
    return b"N"


@id_for_memo.register(bool)
def _(obj: bool, output_ref: bool = False) -> bytes:
    return b"T" if obj else b"F"


# The handlers of the builtin types take exact types only: a subclass may have more to it than its base shows.


@id_for_memo.register(int)
def _(obj: int, output_ref: bool = False) -> bytes:
    if type(obj) is not int:
        return by_pickle(obj)
    return b"i" + obj.to_bytes(obj.bit_length() // 8 + 1, "little", signed=True)


@id_for_memo.register(float)
def _(obj: float, output_ref: bool = False) -> bytes:
    return b"f" + struct.pack("<d", obj) if type(obj) is float else by_pickle(obj)


@id_for_memo.register(str)
def _(obj: str, output_ref: bool = False) -> bytes:
    return b"s" + obj.encode("utf-8", "surrogatepass") if type(obj) is str else by_pickle(obj)


@id_for_memo.register(bytes)
def _(obj: bytes, output_ref: bool = False) -> bytes:
    return digest(b"b", (obj,)) if type(obj) is bytes else by_pickle(obj)


@id_for_memo.register(list)
def _(obj: list[Any], output_ref: bool = False) -> bytes:
    if type(obj) is not list:
        return by_pickle(obj)
    return digest(b"l", (identity(item, output_ref=output_ref) for item in obj))


@id_for_memo.register(tuple)
def _(obj: tuple[Any, ...], output_ref: bool = False) -> bytes:
    if type(obj) is not tuple:
        return by_pickle(obj)
    return digest(b"t", (identity(item, output_ref=output_ref) for item in obj))


@id_for_memo.register(dict)
def _(obj: dict[Any, Any], output_ref: bool = False) -> bytes:
    if type(obj) is not dict:
        return by_pickle(obj)
    pairs = []
    for key, value in obj.items():
        with _branch():
            pairs.append(digest(b"", (identity(key), identity(value, output_ref=output_ref))))
    return digest(b"d", sorted(pairs))


def _set_id(obj: set[Any] | frozenset[Any]) -> bytes:
    members = []
    for member in obj:
        with _branch():
            members.append(identity(member))
    return digest(b"e", sorted(members))


@id_for_memo.register(set)
def _(obj: set[Any], output_ref: bool = False) -> bytes:
    return _set_id(obj) if type(obj) is set else by_pickle(obj)


@id_for_memo.register(frozenset)
def _(obj: frozenset[Any], output_ref: bool = False) -> bytes:
    return _set_id(obj) if type(obj) is frozenset else by_pickle(obj)


@id_for_memo.register(PurePath)
def _(obj: PurePath, output_ref: bool = False) -> bytes:
    return b"P" + os.fsencode(obj)


@id_for_memo.register(File)
def _(obj: File, output_ref: bool = False) -> bytes:
    name = obj.url.encode("utf-8", "surrogatepass")
    return digest(b"U", (name,) if output_ref else (name, _content_id(obj)))


def _content_id(file: File) -> bytes:
    """What is in the file, if it can be read here; nothing otherwise."""
    if file.local_path is None and file.scheme != "file":
        return b""
    path = file.filepath
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return b""
        if found.st_size > _FILE_CONTENT_LIMIT_BYTES:
            return b"%d %d" % (found.st_size, found.st_mtime_ns)
        return _file_digest(os.path.abspath(path), found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError:
        return b""


@lru_cache(maxsize=4096)  # many tasks share their input files
def _file_digest(path: str, inode: int, size: int, modified_ns: int) -> bytes:
    hasher = blake2b(digest_size=_DIGEST_BYTES)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.digest()


# -- where this thread is -------------------------------------------------------------------------------------


class _Walk(threading.local):
    """Where this thread is among functions that refer to each other."""

    by_name = False
    visited: dict[FunctionType, int] | None = None  # numbered as met from the outermost function; None outside


walk = _Walk()


@contextmanager
def _branch() -> Iterator[None]:
    """Members of sets and dicts are met in any order: none may see the numbers that another has given."""
    before = walk.visited
    walk.visited = None if before is None else before.copy()
    try:
        yield
    finally:
        walk.visited = before


def user_function(func: Any) -> Any:
    """The function of the user in an app, or in a wrapper of Trellis that runs it; else ``func`` itself."""
    while True:
        if _has(func, "memo_function"):
            func = func.memo_function
        elif type(func).__module__.startswith("trellis.") and _has(func, "func"):
            func = func.func
        else:
            return func


def _has(obj: object, name: str) -> bool:
    # Not hasattr: an unknown attribute of a future is a new task.
    return hasattr(type(obj), name) or name in getattr(obj, "__dict__", ())
