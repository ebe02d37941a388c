"""Users' objects to payloads and back: the only user of cloudpickle and of ``pickle.loads``.

Plain pickle (protocol 5, in C) comes first; cloudpickle when pickle refuses, or when the pickle refers to
``__main__``, which is another module in a worker. Large buffers (arrays) stay out of band and are not copied.
"""

from __future__ import annotations

import io
import operator
import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import cloudpickle  # type: ignore[import-untyped]  # here, so that it holds for users of Trellis too

from trellis.core.users_errors import describe, is_interrupt, text_of
from trellis.errors import DeserializationError, RemoteError, RemoteTraceback, SerializationError
from trellis.wire.codec import INLINE_LIMIT_BYTES, Buffer, Payload
from trellis.wire.exceptions import WAYS, add_place_note, chain_of, exception_pickler

_PROTOCOL = 5
_EMPTY_CALL = pickle.dumps(((), {}), _PROTOCOL)


def dumps(obj: object) -> bytes:
    """Any object to bytes, in one piece.

    Raises:
        Exception: whatever the object's own pickling raises.
    """
    try:
        data = pickle.dumps(obj, _PROTOCOL)
    except Exception:
        return bytes(cloudpickle.dumps(obj, _PROTOCOL))
    return bytes(cloudpickle.dumps(obj, _PROTOCOL)) if b"__main__" in data else data


def loads(data: Buffer) -> Any:
    """What ``dumps`` took."""
    return pickle.loads(data)


def _dump(obj: object, snapshot: bool = False) -> Payload:
    """``snapshot``: copy buffers that may be written to; without it the payload changes when they do."""
    found: list[pickle.PickleBuffer] = []
    try:  # what most objects are: plain pickle, without buffers
        data = pickle.dumps(obj, _PROTOCOL, buffer_callback=found.append)
        if not found and b"__main__" not in data:
            return data
    except Exception:
        return _dump_with_care(obj, snapshot, by_value=True)
    return _dump_with_care(obj, snapshot, by_value=b"__main__" in data)


def _dump_with_care(obj: object, snapshot: bool, by_value: bool) -> Payload:
    """Serialize what has buffers, or what a worker cannot import (``by_value``)."""
    buffers: list[Buffer] = []

    def keep_out(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= INLINE_LIMIT_BYTES:
            return True  # small: within the pickle
        buffers.append(bytes(raw) if snapshot and not raw.readonly else raw)
        return False

    dump = cloudpickle.dumps if by_value else pickle.dumps
    data = dump(obj, _PROTOCOL, buffer_callback=keep_out)
    return (data, *buffers) if buffers else data


def _load(payload: Payload) -> Any:
    if type(payload) is tuple:
        return pickle.loads(payload[0], buffers=payload[1:])
    return pickle.loads(payload)  # type: ignore[arg-type]


# -- functions -------------------------------------------------------------------------------------------------


class Prelude(NamedTuple):
    """What a worker does before it has a function.

    Where to look for modules, too; and modules that it has to load anew if it has them: their names, and the number of
    the version, since each is loaded once. ``first`` are paths to look at before all others.
    """

    paths: Sequence[str] = ()
    reloads: Sequence[tuple[str, int]] = ()
    first: Sequence[str] = ()


_NOTHING_BEFORE = Prelude()

# Only names of the standard library: workers need no Trellis for it.
_PRELUDE = """
import importlib, sys
sys.path[:0] = [path for path in {first!r} if path not in sys.path]
sys.path += [path for path in {paths!r} if path not in sys.path]
importlib.invalidate_caches()
versions = vars(sys).setdefault("_trellis_versions", {{}})
for name, version in {reloads!r}:
    if name in sys.modules and versions.get(name) != version:
        importlib.reload(sys.modules[name])
    versions[name] = version
"""


class _Running:
    """Read from a pickle, it is code that runs."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> Any:
        return exec, (self._code, {})


class _After:
    """Read from a pickle, it is the second of two objects: the first is read before it."""

    def __init__(self, first: object, second: object) -> None:
        self._pair = (first, second)

    def __reduce__(self) -> Any:
        return operator.itemgetter(1), (self._pair,)


def dump_function(func: Callable[..., Any], prelude: Prelude = _NOTHING_BEFORE) -> bytes:
    """Raises:
    SerializationError: the function, or something it refers to, cannot be pickled.
    """
    obj: object = func
    if prelude != _NOTHING_BEFORE:
        code = _PRELUDE.format(first=list(prelude.first), paths=list(prelude.paths), reloads=list(prelude.reloads))
        obj = _After(_Running(code), func)
    try:
        return bytes(cloudpickle.dumps(obj, _PROTOCOL))
    except BaseException as error:  # users' code runs here, and in the two below
        if is_interrupt(error):
            raise
        name = getattr(func, "__qualname__", None) or f"(a {type(func).__name__})"
        raise SerializationError(f"function {name}", describe(error)) from error


def load_function(data: Buffer) -> Callable[..., Any]:
    """What ``dump_function`` took."""
    func: Callable[..., Any] = pickle.loads(data)
    return func


# -- arguments -------------------------------------------------------------------------------------------------


def dump_call(args: Sequence[Any], kwargs: Mapping[str, Any], name: str, snapshot: bool = True) -> Payload:
    """Arguments as they are now: what the caller does to an array afterwards does not reach the task.

    Without ``snapshot`` the payload still has the caller's memory in it: for who copies it at once.

    Raises:
        SerializationError: an argument cannot be pickled; the message says which.
    """
    if not args and not kwargs:
        return _EMPTY_CALL
    try:
        return _dump((tuple(args), dict(kwargs)), snapshot)
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise _not_an_argument(args, kwargs, name, error) from error


def _not_an_argument(
    args: Sequence[Any], kwargs: Mapping[str, Any], name: str, error: BaseException
) -> SerializationError:
    labelled = [(f"argument {position}", value) for position, value in enumerate(args)]
    labelled += [(f"argument {key}", value) for key, value in kwargs.items()]
    for label, value in labelled:
        if not _fits(value):
            return _not_serializable(f"{label} of {name}", value, error)
    return SerializationError(f"the arguments of {name}", describe(error))


def _not_serializable(what: str, value: object, error: BaseException) -> SerializationError:
    """The error for ``what``, with the part that is to blame and what to try."""
    if isinstance(error, RecursionError):
        return SerializationError(f"{what} (a {type(value).__name__})", f"{describe(error)}; make it less deep")
    from trellis.wire.culprits import advice, culprit

    way, part = culprit(value, _fits)
    where = f"; it is {way.strip()} in it, a {type(part).__name__}" if way else ""
    reason = f"{describe(error)}{where}; {advice(part)}"
    return SerializationError(f"{what} (a {type(value).__name__})", reason)


def _fits(value: object) -> bool:
    try:
        _dump(value)
    except BaseException:
        return False
    return True


def load_call(payload: Payload) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keyword arguments that ``dump_call`` took."""
    call: tuple[tuple[Any, ...], dict[str, Any]] = _load(payload)
    return call


# -- results ---------------------------------------------------------------------------------------------------


def dump_result(value: object, function: object = None) -> Payload:
    """Large buffers are not copied: send the payload before anything else can change them.

    ``function`` has made it: the error names it.

    Raises:
        SerializationError: the value cannot be pickled.
    """
    try:
        return _dump(value)
    except BaseException as error:
        name = getattr(function, "__name__", "")
        raise _not_serializable(f"the result of {name}" if name else "the result", value, error) from error


def load_result(payload: Payload) -> Any:
    """Raises:
    DeserializationError: the value cannot be made again here.
    """
    try:
        return _load(payload)
    except BaseException as error:  # a module that it needs may end in sys.exit() when imported
        raise DeserializationError(f"the result: {describe(error)}") from error


def dump_exception(exception: BaseException, skip_frames: int = 0) -> bytes:
    """An exception with the text of its traceback, without the outermost ``skip_frames`` frames.

    Never raises: what cannot travel is replaced by a ``RemoteError`` that tells its type, message and traceback.
    """
    text = _traceback_text(exception, skip_frames)
    add_place_note(exception)
    data = next((data for data in map(partial(_try, exception), WAYS) if data is not None), None)
    if data is None:
        type_name = f"{type(exception).__module__}.{type(exception).__qualname__}"
        data = pickle.dumps(RemoteError(type_name, text_of(exception), text), _PROTOCOL)
    # The text apart from the exception: it can be read also where the exception cannot be made.
    return pickle.dumps((data, text), _PROTOCOL)


def _try(exception: BaseException, way: tuple[bool, bool] | None) -> bytes | None:
    """The exception as bytes; None when it cannot be made from them again."""
    try:
        if way is None:
            data = dumps(exception)
        else:
            file = io.BytesIO()
            exception_pickler(cloudpickle.Pickler, *way)(file, _PROTOCOL).dump(exception)
            data = file.getvalue()
        return data if isinstance(pickle.loads(data), BaseException) else None
    except BaseException:  # users' code runs here
        return None


def _traceback_text(exception: BaseException, skip_frames: int) -> str:
    trace = exception.__traceback__
    for _ in range(skip_frames):
        trace = trace.tb_next if trace is not None else None
    try:
        return "".join(traceback.format_exception(type(exception), exception, trace))
    except BaseException as error:  # an exception of the user's own that cannot even be looked at
        where = "".join(traceback.format_tb(trace))
        return f"{where}{type(exception).__qualname__} (it cannot be shown: {describe(error)})\n"


def load_exception(payload: Payload) -> BaseException:
    """The exception; a ``DeserializationError`` when it cannot be made here.

    A ``RemoteTraceback`` is its cause, or at the beginning of its causes, when it has come with some.
    """
    from trellis.wire.source_lines import with_source_lines  # only the program needs it, and only for failures

    try:
        data, raw = _load(payload)
        text = with_source_lines(raw)
    except BaseException as error:
        return DeserializationError(f"the task's exception: {describe(error)}")
    exception: BaseException
    try:
        exception = pickle.loads(data)
        *_, first = (link for link in chain_of(exception) if not isinstance(link, RemoteTraceback))
        # As BaseException does it: the exception's own class may forbid that attributes are set.
        BaseException.__setattr__(first, "__cause__", RemoteTraceback(text))
        if type(exception) is RemoteError and exception.traceback_text == raw:
            exception.traceback_text = text
    except BaseException as error:  # a module that it needs may end in sys.exit() when imported
        exception = DeserializationError(f"the task's exception: {describe(error)}")
        exception.__cause__ = RemoteTraceback(text)
    return exception
