"""Checks of parameters when an object is made or called: the message names the parameter and what was expected.

What is accepted is said by kinds (see ``values``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from trellis.core.values import Kind, ValueRefused, shown
from trellis.errors import ParameterTypeError, ParameterValueError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def check(owner: str, name: str, value: Any, kind: Kind) -> Any:
    """The value as ``kind`` makes it.

    Raises:
        ParameterTypeError: it has a wrong type.
        ParameterValueError: it cannot work.
    """
    try:
        return kind(value)
    except ValueRefused as refused:
        error = ParameterTypeError if refused.wrong_type else ParameterValueError
        raise error(f"{owner}: {name} {refused.words(value)}") from None


def check_all(owner: object, kinds: Mapping[str, Kind]) -> None:
    """Put what kinds make of the attributes of ``owner`` in their places; see ``check``."""
    for name, kind in kinds.items():
        value = check(type(owner).__name__, name, getattr(owner, name), kind)
        object.__setattr__(owner, name, value)  # also of a frozen dataclass, which is just being made


# -- parameters of constructors --------------------------------------------------------------------------------


def declares_parameters(owner: type[T]) -> type[T]:
    """Class decorator: annotations ``name: Annotated[type, kind]`` say what the constructor's parameters accept.

    Parameters of the bases are declared there; ``parameters_of`` gives all.
    """
    hints = inspect.get_annotations(owner, eval_str=True)
    own = {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}
    owner._parameters = {**parameters_of(owner), **own}  # type: ignore[attr-defined]
    return owner


def parameters_of(owner: type) -> Mapping[str, Kind]:
    """The declared parameters of a class, and what each accepts."""
    return getattr(owner, "_parameters", {})


def arguments(names: Mapping[str, Any]) -> dict[str, Any]:
    """What a constructor was given: its ``locals()`` before it has any of its own."""
    return {name: value for name, value in names.items() if name not in ("self", "__class__")}


def keep_arguments(owner: object, given: Mapping[str, Any]) -> None:
    """Check these parameters, and keep them as attributes; see ``check``. Others than declared ones are a defect."""
    kinds = parameters_of(type(owner))
    if unknown := given.keys() - kinds.keys():
        raise TypeError(f"{type(owner).__name__} declares no parameter {', '.join(sorted(unknown))}")
    for name, value in given.items():
        setattr(owner, name, check(type(owner).__name__, name, value, kinds[name]))


def knows_former_names(**advice: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a constructor with names that its parameters had in the past, and what to write today.

    Where a name is none of these, the most similar parameter is told.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = inspect.signature(function).parameters

        @wraps(function)
        def with_advice(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in known:
                    owner = type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__
                    raise ParameterTypeError(f"{owner} has no parameter {name}{_advice(name, advice, known)}")
            return function(*args, **kwargs)

        return with_advice

    return decorate


def answers_misspelt_names(owner: type[T]) -> type[T]:
    """Class decorator, of dataclasses for example: as ``knows_former_names`` of its constructor."""
    owner.__init__ = knows_former_names()(owner.__init__)  # type: ignore[method-assign]
    return owner


def _advice(name: str, advice: Mapping[str, str], known: Mapping[str, object]) -> str:
    if name in advice:
        return f" any more: {advice[name]}"
    return similar_names(name, [one for one in known if one not in ("self", "cls")])


def similar_names(name: str, known: Sequence[str]) -> str:
    """What follows an unknown name in a message: the one that was probably meant, or all that there are."""
    import difflib  # needed for nothing else

    similar = difflib.get_close_matches(name, known, 1) or [one for one in known if _shares_a_word(name, one)][:4]
    return f": did you mean {' or '.join(similar)}?" if similar else f"; there are {', '.join(known)}"


def _shares_a_word(name: str, other: str) -> bool:
    return not set(name.lower().split("_")).isdisjoint(other.split("_"))


def _type_names(types: Sequence[type | None]) -> str:
    names = ["None" if t is None else t.__name__ for t in types]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def check_type(owner: str, name: str, value: Any, *types: type | None) -> None:
    """Raise ``ParameterTypeError`` unless ``value`` is of one of ``types`` (``None`` stands for None itself).

    A bool is not taken for an int or a float.
    """
    for expected in types:
        if expected is None:
            if value is None:
                return
        elif isinstance(value, expected) and not (isinstance(value, bool) and expected in (int, float)):
            return
    raise ParameterTypeError(
        f"{owner}: {name} must be {_type_names(types)}, not {type(value).__name__} ({shown(value)})"
    )
