"""What a function takes along to workers, and whether that is still the same. Serializes nothing.

A function that travels by value takes the values of its globals, its closure and its defaults. One that workers import
depends on their modules being the same as the program's.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

from trellis.executors.common.fingerprints import Fingerprint, fingerprint_of
from trellis.executors.common.users_modules import Loaded, module_of, used_by

_MISSING = object()


class Watch:
    """What a function takes along, as it is now.

    A serialized function is used again only while its globals, closure cells, code and defaults are the same objects,
    what can change in place has not, and the user's modules that it uses were not loaded anew.
    """

    __slots__ = ("_cells", "_contents", "_functions", "_globals", "_is_plain", "modules")

    def __init__(self, func: object) -> None:
        self._globals: list[tuple[dict[str, Any], str, object]] = []
        self._cells: list[tuple[types.CellType, object]] = []
        self._functions: list[tuple[types.FunctionType, object, object]] = []
        values = list(_captured_by_partial(func))
        function = function_of(func)
        found = {function} if function is not None else set()
        todo = list(found)
        while todo:  # and the functions that these call, if they travel along
            function = todo.pop()
            self._functions.append((function, function.__code__, function.__defaults__))
            values += [function, *defaults_of(function)]
            if travels_as_name(function):
                continue
            used = self._add_names(function)
            values += used
            for value in used:
                inner = value.func if type(value) is functools.partial else value
                if type(inner) is types.FunctionType and inner not in found and not travels_as_name(inner):
                    found.add(inner)
                    todo.append(inner)
        self.modules = _modules_of([func, *values])
        self._contents = _fingerprints_of(values)
        self._is_plain = not (self._cells or self._contents or self.modules)

    def _add_names(self, function: types.FunctionType) -> list[object]:
        found, cells = globals_of(function), cells_of(function)
        self._globals += found
        self._cells += cells
        imported = [sys.modules.get(name) for _, name, _ in found]  # in the body
        return [value for _, _, value in found] + [value for _, value in cells] + imported

    def is_current(self) -> bool:
        """Asked for every task: mostly nothing but a few names is looked at."""
        for namespace, name, value in self._globals:
            if namespace.get(name, _MISSING) is not value:
                return False
        for function, code, defaults in self._functions:
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return False
        return self._is_plain or self._rest_is_current()

    def _rest_is_current(self) -> bool:
        if self._cells and not all(_content(cell) is value for cell, value in self._cells):
            return False
        if self._contents and not all(take(value) == before for value, take, before in self._contents):
            return False
        return not self.modules or all(known.is_current() for known in self.modules)


def _captured_by_partial(func: object) -> tuple[object, ...]:
    return (func.args, func.keywords) if isinstance(func, functools.partial) else ()


def _modules_of(values: list[object]) -> list[Loaded]:
    modules = [module for value in values if (module := module_of(value)) is not None]
    return used_by(modules) if modules else []


def _fingerprints_of(values: list[object]) -> list[tuple[object, Fingerprint, object]]:
    found = []
    for value in {id(value): value for value in values}.values():
        take = None if value is _MISSING else fingerprint_of(value)
        if take is not None:
            found.append((value, take, take(value)))
    return found


def is_watched(func: object) -> bool:
    """Whether a change would be noticed; what may have a state of its own (methods, callable objects) is not."""
    return function_of(func) is not None or travels_as_name(func)


def function_of(func: Any) -> types.FunctionType | None:
    """The function itself, or the one that a wrapper (a bash app, a partial) is for.

    None for what may have a state that changes: methods, callable objects.
    """
    if isinstance(func, types.MethodType):
        return None
    if not isinstance(func, types.FunctionType):
        func = getattr(func, "__wrapped__", None) or getattr(func, "func", None)
    return func if isinstance(func, types.FunctionType) else None


def travels_as_name(value: Any) -> bool:
    """Whether workers import it: its module has it under its qualified name. Else it travels with all that it uses."""
    module = getattr(value, "__module__", None) or "__main__"
    if module in ("__main__", "__mp_main__"):
        return False
    found: object = sys.modules.get(module)
    for name in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is value


def globals_of(function: types.FunctionType) -> list[tuple[dict[str, Any], str, object]]:
    """The globals that it may use (and attributes: a global too many does no harm): where, name, and value."""
    namespace = function.__globals__
    return [(namespace, name, namespace.get(name, _MISSING)) for name in _names(function.__code__)]


def cells_of(function: types.FunctionType) -> list[tuple[types.CellType, object]]:
    """What is in its closure."""
    return [(cell, _content(cell)) for cell in function.__closure__ or ()]


def defaults_of(function: types.FunctionType) -> list[object]:
    """The values of its parameters."""
    return [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*inner)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _MISSING
