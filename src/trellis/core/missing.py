"""Names of Parsl's that Trellis does not have: a program may import them, and is told when it uses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from trellis.errors import NotInTrellis


def not_in_trellis(name: str, was: str, instead: str) -> NotInTrellis:
    """The error for the use of ``name``: what it ``was`` in Parsl, and what a program may do ``instead``."""
    return NotInTrellis(f"{name} is not available in this version of Trellis (in Parsl, it {was}): {instead}")


class Missing:
    """Base of stand-ins for classes: classes for annotations and ``isinstance``, which nobody can make or extend.

    ``class Name(Missing, was="does this", instead="use that"): ...`` makes one.
    """

    # Who asks for these finds them on stand-ins; they are no names of Parsl's.
    _was: ClassVar[str] = ""
    _instead: ClassVar[str] = ""

    def __init_subclass__(cls, was: str = "", instead: str = "", **_kwargs: Any) -> None:
        for base in cls.__mro__[1:]:
            if issubclass(base, Missing) and base is not Missing:
                raise not_in_trellis(base.__name__, base._was, base._instead)
        cls._was, cls._instead = was, instead
        cls.__doc__ = f"Stand-in for Parsl's {cls.__name__}, which {was}. Making or extending one raises NotInTrellis."

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:  # not NoReturn, or what comes after is unchecked
        raise not_in_trellis(cls.__name__, cls._was, cls._instead)


def missing_function(name: str, module: str, was: str, instead: str) -> Callable[..., Any]:
    """A stand-in for the function ``name`` of ``module``: it can be passed on, and raises when it is called."""

    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise not_in_trellis(name, was, instead)

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__module__ = module
    refuse.__doc__ = f"Stand-in for Parsl's {name}, which {was}. Calling it raises NotInTrellis."
    refuse.stands_in = True  # type: ignore[attr-defined]  # what compares us with Parsl asks
    return refuse
