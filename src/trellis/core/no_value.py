"""What operators say to a future: it has no value yet. Defines no behaviour but the words of their ``TypeError``.

The operators are put in by a loop, so that type checkers go on complaining of ``future + 1`` before it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

_BINARY = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "matmul": "@",
    "and": "&",
    "or": "|",
    "xor": "^",
    "lshift": "<<",
    "rshift": ">>",
}
_COMPARING = {"lt": ("<", "gt"), "le": ("<=", "ge"), "gt": (">", "lt"), "ge": (">=", "le")}
_UNARY = {
    "neg": "-",
    "pos": "+",
    "invert": "~",
    "abs": "abs()",
    "int": "int()",
    "float": "float()",
    "complex": "complex()",
    "index": "a use as an index or a count",
}


class NoValueYet:
    """Base of futures; see above."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        if spec:
            _refuse(self, f"the format {spec!r}")
        return str(self)


def _refuse(future: object, what: str) -> NoReturn:
    raise TypeError(
        f"{what} cannot be applied to {type(future).__name__}, whose value is not there yet: take future.result() "
        "first, or pass the future to an app, which gets the value"
    )


def _binary(symbol: str, reflected: str) -> Callable[[Any, Any], Any]:
    def operator(self: Any, other: Any) -> Any:
        theirs = getattr(type(other), reflected, None)
        alien = type(other).__module__ != "builtins" and not isinstance(other, NoValueYet)
        if not alien or theirs is getattr(object, reflected, None):
            _refuse(self, symbol)
        return NotImplemented  # another's class may know what to do with a future

    return operator


def _unary(symbol: str) -> Callable[[Any], Any]:
    def operator(self: Any) -> Any:
        _refuse(self, symbol)

    return operator


for _name, _symbol in _BINARY.items():
    setattr(NoValueYet, f"__{_name}__", _binary(_symbol, f"__r{_name}__"))
    setattr(NoValueYet, f"__r{_name}__", _binary(_symbol, f"__{_name}__"))
for _name, (_symbol, _other) in _COMPARING.items():
    setattr(NoValueYet, f"__{_name}__", _binary(_symbol, f"__{_other}__"))
for _name, _symbol in _UNARY.items():
    setattr(NoValueYet, f"__{_name}__", _unary(_symbol))
