"""What makes two calls the same: stable identities of functions and values. No state but caches, no checkpoints here.

A key holds between processes and runs: it knows no ids, no addresses, no set order, no file names or line numbers.
The byte code that counts for a function differs between minor versions of Python, so a new minor version starts
afresh, unless functions count by name only (``BasicMemoizer(hash_code=False)`` or ``memo_key``).
"""

from __future__ import annotations

import logging
import os
import pickle
import stat
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial, singledispatch
from hashlib import blake2b
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol, TypeVar

from trellis.errors import SerializationError
from trellis.staging.files import File

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

# Fixed, so that a newer Python with a newer default protocol finds the old keys.
_PICKLE_PROTOCOL = 5
# 160 bits: two different calls never meet by chance.
_DIGEST_BYTES = 20
# Beyond it a file counts by size and modification time: reading it would take longer than a tenth of a second.
_FILE_CONTENT_LIMIT_BYTES = 64 * 1024 * 1024
# Values under these names say where output goes; there is nothing to read there yet.
_OUTPUT_NAMES = frozenset({"outputs", "stdout", "stderr"})


class Call(Protocol):
    """The part of a task record that tells which call it is."""

    @property
    def func(self) -> Callable[..., Any]: ...
    @property
    def func_name(self) -> str: ...
    @property
    def args(self) -> Sequence[Any]: ...
    @property
    def kwargs(self) -> Mapping[str, Any]: ...
    @property
    def ignore_for_cache(self) -> Sequence[str] | None: ...


def task_key(call: Call, *, hash_code: bool = True) -> str:
    """The key of a call, 40 hexadecimal digits; equal for calls that would give the same result.

    Args:
        call: its arguments must be final (no futures in them).
        hash_code: False lets functions count by module and name only.

    Raises:
        SerializationError: an argument has no stable identity; the message names it.
        Exception: what a handler registered with ``id_for_memo`` raises.
    """
    ignored = frozenset(call.ignore_for_cache or ())
    _walk.by_name = not hash_code
    try:
        parts = [_app_id(call.func), b"%d" % len(call.args)]
        parts += [_argument_id(call, str(position), value, False) for position, value in enumerate(call.args)]
        for name in sorted(call.kwargs):
            if name not in ignored:
                parts += [name.encode(), _argument_id(call, name, call.kwargs[name], name in _OUTPUT_NAMES)]
    finally:
        _walk.by_name = False
    return _digest(b"", parts).hex()


def memo_key(key: str) -> Callable[[F], F]:
    """Decorator: let a function count by ``key`` (with its name) in memoization, not by its code.

    Results stay valid while the key stays, whatever is edited. It goes below the app decorator::

        @python_app(cache=True)
        @memo_key("2")
        def align(sample): ...
    """

    def mark(function: F) -> F:
        function.__memo_key__ = key  # type: ignore[attr-defined]
        return function

    return mark


def _argument_id(call: Call, name: str, value: object, output_ref: bool) -> bytes:
    try:
        return id_for_memo(value, output_ref=output_ref)
    except (SerializationError, RecursionError) as error:
        raise SerializationError(
            f"argument {name} of {call.func_name} for its memo key",
            f"{error}. Name it in ignore_for_cache, or register {type(value).__name__} with id_for_memo.register",
        ) from error


def _digest(tag: bytes, parts: Iterable[bytes]) -> bytes:
    hasher = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))  # lengths keep ("ab", "c") apart from ("a", "bc")
        hasher.update(part)
    return tag + hasher.digest()


# -- values ----------------------------------------------------------------------------------------------------


@singledispatch
def id_for_memo(obj: object, output_ref: bool = False) -> bytes:
    """Bytes that stand for a value in memoization: equal for equal values, in every process.

    Types without a handler of their own count by their pickle. Give a type a handler with
    ``@id_for_memo.register(T)``; it takes the value and ``output_ref``, which is True for values that name outputs
    of the app (in ``outputs``, ``stdout``, ``stderr``), where there is no content to read yet.

    Raises:
        SerializationError: the value cannot be pickled.
    """
    inner = _user_function(obj)
    if inner is not obj:
        return id_for_memo(inner)
    hasher = blake2b(digest_size=_DIGEST_BYTES)
    try:
        _CanonicalPickler(obj, hasher.update).dump(obj)
    except Exception as error:
        what = f"a {type(obj).__module__}.{type(obj).__qualname__}"
        raise SerializationError(what, f"{type(error).__name__}: {error}") from error
    return b"p" + hasher.digest()


_by_pickle = id_for_memo.dispatch(object)
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
        return None if handler is _by_pickle else handler(obj)


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
        return _by_pickle(obj)
    return b"i" + obj.to_bytes(obj.bit_length() // 8 + 1, "little", signed=True)


@id_for_memo.register(float)
def _(obj: float, output_ref: bool = False) -> bytes:
    return b"f" + struct.pack("<d", obj) if type(obj) is float else _by_pickle(obj)


@id_for_memo.register(str)
def _(obj: str, output_ref: bool = False) -> bytes:
    return b"s" + obj.encode("utf-8", "surrogatepass") if type(obj) is str else _by_pickle(obj)


@id_for_memo.register(bytes)
def _(obj: bytes, output_ref: bool = False) -> bytes:
    return _digest(b"b", (obj,)) if type(obj) is bytes else _by_pickle(obj)


@id_for_memo.register(list)
def _(obj: list[Any], output_ref: bool = False) -> bytes:
    if type(obj) is not list:
        return _by_pickle(obj)
    return _digest(b"l", (id_for_memo(item, output_ref=output_ref) for item in obj))


@id_for_memo.register(tuple)
def _(obj: tuple[Any, ...], output_ref: bool = False) -> bytes:
    if type(obj) is not tuple:
        return _by_pickle(obj)
    return _digest(b"t", (id_for_memo(item, output_ref=output_ref) for item in obj))


@id_for_memo.register(dict)
def _(obj: dict[Any, Any], output_ref: bool = False) -> bytes:
    if type(obj) is not dict:
        return _by_pickle(obj)
    pairs = []
    for key, value in obj.items():
        with _branch():
            pairs.append(_digest(b"", (id_for_memo(key), id_for_memo(value, output_ref=output_ref))))
    return _digest(b"d", sorted(pairs))


def _set_id(obj: set[Any] | frozenset[Any]) -> bytes:
    members = []
    for member in obj:
        with _branch():
            members.append(id_for_memo(member))
    return _digest(b"e", sorted(members))


@id_for_memo.register(set)
def _(obj: set[Any], output_ref: bool = False) -> bytes:
    return _set_id(obj) if type(obj) is set else _by_pickle(obj)


@id_for_memo.register(frozenset)
def _(obj: frozenset[Any], output_ref: bool = False) -> bytes:
    return _set_id(obj) if type(obj) is frozenset else _by_pickle(obj)


@id_for_memo.register(PurePath)
def _(obj: PurePath, output_ref: bool = False) -> bytes:
    return b"P" + os.fsencode(obj)


@id_for_memo.register(File)
def _(obj: File, output_ref: bool = False) -> bytes:
    name = obj.url.encode("utf-8", "surrogatepass")
    return _digest(b"U", (name,) if output_ref else (name, _content_id(obj)))


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


# -- functions -------------------------------------------------------------------------------------------------


class _Walk(threading.local):
    """Where this thread is among functions that refer to each other."""

    by_name = False
    visited: dict[FunctionType, int] | None = None  # numbered as met from the outermost function; None outside


_walk = _Walk()


@contextmanager
def _branch() -> Iterator[None]:
    """Members of sets and dicts are met in any order: none may see the numbers that another has given."""
    before = _walk.visited
    _walk.visited = None if before is None else before.copy()
    try:
        yield
    finally:
        _walk.visited = before


def _user_function(func: Any) -> Any:
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


def _app_id(func: Any) -> bytes:
    # The same function as a bash app gives another result; where its files are staged makes no difference.
    while type(func).__module__.startswith("trellis.staging."):
        func = func.func
    kind = b"" if type(func) is FunctionType else type(func).__qualname__.encode()
    inner = _user_function(func)
    call = type(inner).__call__
    return _digest(b"a", (kind, id_for_memo(inner), _function_id(call) if type(call) is FunctionType else b""))


@id_for_memo.register(FunctionType)
def _(obj: FunctionType, output_ref: bool = False) -> bytes:
    return _function_id(obj)


@id_for_memo.register(MethodType)
def _(obj: MethodType, output_ref: bool = False) -> bytes:
    return _digest(b"m", (id_for_memo(obj.__func__), id_for_memo(obj.__self__)))


@id_for_memo.register(partial)
def _(obj: partial[Any], output_ref: bool = False) -> bytes:
    return _digest(b"q", (id_for_memo(obj.func), id_for_memo(obj.args), id_for_memo(obj.keywords)))


def _function_id(func: FunctionType) -> bytes:
    """Name, code, defaults, captured variables, and the functions of the same module that it refers to."""
    name = f"{func.__module__}:{func.__qualname__}".encode()
    key = func.__dict__.get("__memo_key__")
    if key is not None:
        return _digest(b"k", (name, id_for_memo(key)))
    if _walk.by_name:
        return _digest(b"n", (name,))
    if _walk.visited is not None:
        return _numbered_function_id(func, name, _walk.visited)
    _walk.visited = {}
    try:
        return _numbered_function_id(func, name, _walk.visited)
    finally:
        _walk.visited = None


def _numbered_function_id(func: FunctionType, name: bytes, visited: dict[FunctionType, int]) -> bytes:
    if func in visited:
        return b"@%d" % visited[func]
    visited[func] = len(visited)
    code = func.__code__
    code_id, names = _code_id(code)
    parts = [name, code_id]
    if func.__defaults__:
        last = code.co_argcount
        owners = code.co_varnames[last - len(func.__defaults__) : last]
        parts += [_captured_id(func, *pair) for pair in zip(owners, func.__defaults__, strict=True)]
    for pair in sorted((func.__kwdefaults__ or {}).items()):
        parts += [pair[0].encode(), _captured_id(func, *pair)]
    for variable, cell in zip(code.co_freevars, func.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        parts += [variable.encode(), _captured_id(func, variable, value)]
    module_names = func.__globals__
    for other in names:
        value = _user_function(module_names.get(other))
        if type(value) is FunctionType and value.__module__ == func.__module__:
            parts += [other.encode(), _function_id(value)]
    return _digest(b"c", parts)


def _captured_id(func: FunctionType, variable: str, value: object) -> bytes:
    try:
        return id_for_memo(value, output_ref=variable in _OUTPUT_NAMES)
    except (SerializationError, RecursionError):
        # Locks, clients, loggers: they belong to the surroundings of a function rather than to its arguments.
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        _warn_of_captured(f"{func.__module__}.{func.__qualname__}", variable, kind)
        return b"?" + kind.encode()


@lru_cache(maxsize=1024)  # says each thing once
def _warn_of_captured(function: str, variable: str, kind: str) -> None:
    logger.warning(
        "Variable %s of %s is a %s, which cannot be pickled: for memoization only its type counts",
        *(variable, function, kind),
    )


@lru_cache(maxsize=4096)
def _code_id(code: CodeType) -> tuple[bytes, tuple[str, ...]]:
    """Identity of a code object with all that is nested in it, and the names used there."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if type(constant) is CodeType:
            names.update(dict.fromkeys(_code_id(constant)[1]))
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    variables = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    if _COMPILER_NAMES.isdisjoint(code.co_names):
        body = [code.co_code, *map(_constant_id, code.co_consts)]
    else:
        body = list(_class_body_ids(code))
    return _digest(b"o", (id_for_memo(shape), id_for_memo(variables), code.co_exceptiontable, *body)), tuple(names)


def _constant_id(constant: object) -> bytes:
    return _code_id(constant)[0] if isinstance(constant, CodeType) else id_for_memo(constant)


# From Python 3.13 on the body of a class assigns these: its line number, and a tuple in any order.
_COMPILER_NAMES = frozenset({"__firstlineno__", "__static_attributes__"})


def _class_body_ids(code: CodeType) -> Iterator[bytes]:
    """The instructions of a class body, without what the compiler has added: it moves the places of constants."""
    import dis  # for this rare case only

    instructions = [found for found in dis.get_instructions(code) if found.opname != "EXTENDED_ARG"]
    for instruction, following in zip(instructions, [*instructions[1:], None], strict=True):
        if following is None or following.argval not in _COMPILER_NAMES or following.opname != "STORE_NAME":
            yield instruction.opname.encode()
            yield _constant_id(instruction.argval)
