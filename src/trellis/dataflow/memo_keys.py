"""What makes two calls the same: the key of a call, and the identities of functions. No checkpoints here.

The byte code that counts for a function differs between minor versions of Python, so a new minor version starts
afresh, unless functions count by name only (``BasicMemoizer(hash_code=False)`` or ``memo_key``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from types import CodeType, FunctionType, MethodType
from typing import Any, Protocol, TypeVar

from trellis.dataflow.call_form import named_arguments
from trellis.dataflow.memo_values import digest, id_for_memo, identity, user_function, walk
from trellis.errors import SerializationError

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

# Values under these names say where output goes; there is nothing to read there yet.
_OUTPUT_NAMES = frozenset({"outputs", "stdout", "stderr"})


class RememberedCall(Protocol):
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


def task_key(call: RememberedCall, *, hash_code: bool = True) -> str:
    """The key of a call, 40 hexadecimal digits; equal for calls that would give the same result.

    Args:
        call: its arguments must be final (no futures in them).
        hash_code: False lets functions count by module and name only.

    Raises:
        SerializationError: an argument has no stable identity; the message names it.
        Exception: what a handler registered with ``id_for_memo`` raises.
    """
    ignored = frozenset(call.ignore_for_cache or ())
    walk.by_name = not hash_code
    try:
        parts = [_app_id(call.func)]
        for name, value in named_arguments(user_function(call.func), call.args, call.kwargs):
            bare = name.lstrip("*")
            if bare not in ignored:
                parts += [name.encode(), _argument_id(call, bare, value, bare in _OUTPUT_NAMES)]
    finally:
        walk.by_name = False
    return digest(b"", parts).hex()


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


def _argument_id(call: RememberedCall, name: str, value: object, output_ref: bool) -> bytes:
    try:
        return identity(value, output_ref=output_ref)
    except (SerializationError, RecursionError) as error:
        raise SerializationError(
            f"argument {name} of {call.func_name} for its memo key",
            f"{error}. Name it in ignore_for_cache, or register {type(value).__name__} with id_for_memo.register",
        ) from error


# -- functions -------------------------------------------------------------------------------------------------


def _app_id(func: Any) -> bytes:
    # The same function as a bash app gives another result; where its files are staged makes no difference.
    while type(func).__module__.startswith("trellis.staging."):
        func = func.func
    kind = b"" if type(func) is FunctionType else type(func).__qualname__.encode()
    inner = user_function(func)
    call = type(inner).__call__
    return digest(b"a", (kind, identity(inner), _function_id(call) if type(call) is FunctionType else b""))


@id_for_memo.register(FunctionType)
def _(obj: FunctionType, output_ref: bool = False) -> bytes:
    return _function_id(obj)


@id_for_memo.register(MethodType)
def _(obj: MethodType, output_ref: bool = False) -> bytes:
    return digest(b"m", (identity(obj.__func__), identity(obj.__self__)))


@id_for_memo.register(partial)
def _(obj: partial[Any], output_ref: bool = False) -> bytes:
    return digest(b"q", (identity(obj.func), identity(obj.args), identity(obj.keywords)))


def _function_id(func: FunctionType) -> bytes:
    """Name, code, defaults, captured variables, and the functions of the same module that it refers to."""
    name = f"{func.__module__}:{func.__qualname__}".encode()
    key = func.__dict__.get("__memo_key__")
    if key is not None:
        return digest(b"k", (name, identity(key)))
    if walk.by_name:
        return digest(b"n", (name,))
    if walk.visited is not None:
        return _numbered_function_id(func, name, walk.visited)
    walk.visited = {}
    try:
        return _numbered_function_id(func, name, walk.visited)
    finally:
        walk.visited = None


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
        value = user_function(module_names.get(other))
        if type(value) is FunctionType and value.__module__ == func.__module__:
            parts += [other.encode(), _function_id(value)]
    return digest(b"c", parts)


def _captured_id(func: FunctionType, variable: str, value: object) -> bytes:
    try:
        return identity(value, output_ref=variable in _OUTPUT_NAMES)
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
    return digest(b"o", (identity(shape), identity(variables), code.co_exceptiontable, *body)), tuple(names)


def _constant_id(constant: object) -> bytes:
    return _code_id(constant)[0] if isinstance(constant, CodeType) else identity(constant)


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
