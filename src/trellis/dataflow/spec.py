"""What an app is to the kernel: worked out once, when the app is made. Never changes afterwards; no kernel here.

The special keyword arguments (``inputs``, ``stdout``, ``walltime``, ...) are understood here. They reach the user's
function only if it declares them or takes ``**kwargs``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from trellis.core.interfaces import INTERNAL_EXECUTOR
from trellis.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER
from trellis.errors import ParameterTypeError
from trellis.remote.outputs import WithOutputs
from trellis.remote.walltime import WithWalltime

# Taken from the function's defaults when the call does not give them.
SPECIAL_WITH_DEFAULTS = ("inputs", "outputs", "stdout", "stderr", "walltime", "parsl_resource_specification")
SPECIAL = frozenset((*SPECIAL_WITH_DEFAULTS, "label"))

# Set by staging for its own tasks: their arguments are not staged again. Never reaches a function.
STAGING_INHIBIT = "_parsl_staging_inhibit"


def special_keywords(function: Callable[..., Any]) -> tuple[dict[str, Any], frozenset[str], list[str]]:
    """What a function says about the special keyword arguments.

    Returns:
        the defaults it gives them, and all defaults that hold futures; the names that must not be passed to it; its
        parameters that can be positional, in order, as far as they can also be given by name.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins tell nothing: pass nothing on that they do not expect
        return {}, SPECIAL, []
    defaults = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.default is not inspect.Parameter.empty
        and (name in SPECIAL_WITH_DEFAULTS or _holds_futures(parameter.default))
    }
    _check_places_of_futures(function, [parameters[name] for name in defaults])
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    undeclared = frozenset() if takes_any else SPECIAL.difference(parameters)
    positional: list[str] = []
    for parameter in parameters.values():
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            break
        positional.append(parameter.name)
    return defaults, undeclared, positional


def _holds_futures(value: Any) -> bool:
    return bool(DEEP_DEPENDENCY_RESOLVER.traverse_to_gather(value))


def _check_places_of_futures(function: Callable[..., Any], with_defaults: Sequence[inspect.Parameter]) -> None:
    """A future must be given as an argument, so that the task waits for it.

    Raises:
        ParameterTypeError: the function holds one where no argument can take its place.
    """
    name = getattr(function, "__name__", "") or type(function).__name__
    for parameter in with_defaults:
        if parameter.kind is parameter.POSITIONAL_ONLY and _holds_futures(parameter.default):
            raise ParameterTypeError(f"{name}: the default of {parameter.name} is a future; give it in the call")
    if isinstance(function, functools.partial) and _holds_futures(function.args):
        raise ParameterTypeError(
            f"an app of a partial function whose arguments hold a future: {function!r}; give it in the call"
        )


class AppSpec:
    """An app, as the kernel sees it.

    Args:
        func: what executors run. One object for all calls: executors serialize it once.
        function: the user's function, whose signature counts.
        name: of the app, for people.
        executors: labels to choose from, or ``"all"``.
        cache: look for a memo before a task is launched.
        ignore_for_cache: keyword arguments that do not matter to the memo.
        join: the result is a future, or a list of futures, and the task's result is theirs.
        is_bash: ``func`` understands ``stdout``, ``walltime`` etc. itself.
    """

    __slots__ = (
        "cache",
        "defaults",
        "executors",
        "first_special",
        "func",
        "ignore_for_cache",
        "is_bash",
        "join",
        "name",
        "positional",
        "undeclared",
        "with_outputs",
        "with_walltime",
    )

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        function: Callable[..., Any] | None = None,
        name: str = "",
        executors: str | Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] = (),
        join: bool = False,
        is_bash: bool = False,
    ) -> None:
        function = function or func
        self.func = func
        self.with_outputs = WithOutputs(func)
        self.with_walltime = WithWalltime(func)
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.executors = executors
        self.cache = cache
        self.ignore_for_cache = tuple(ignore_for_cache)
        self.join = join
        self.is_bash = is_bash
        self.defaults, undeclared, self.positional = special_keywords(function)
        # A bash app's runner wants all of them; it knows itself what the function must not get.
        self.undeclared = frozenset() if is_bash else undeclared
        # Calls with more positional arguments than this give a special one (or one with such a default) by position.
        self.first_special = next(
            (i for i, name in enumerate(self.positional) if name in SPECIAL or name in self.defaults),
            len(self.positional) + 1_000_000,
        )

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments of a call with the special ones among the keywords, defaults included."""
        if len(args) > self.first_special and len(args) <= len(self.positional):
            first = self.first_special
            kwargs = {**dict(zip(self.positional[first:], args[first:], strict=False)), **kwargs}
            args = args[:first]
        if self.defaults:
            given = self.positional[: len(args)]
            kwargs = {**{name: value for name, value in self.defaults.items() if name not in given}, **kwargs}
        return args, kwargs

    def passed_kwargs(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments that reach the function."""
        if self.undeclared.isdisjoint(kwargs):
            return kwargs
        return {name: value for name, value in kwargs.items() if name not in self.undeclared}


# -- parts of results that are not there yet: future[key] and future.name ---------------------------------------


def deferred_getitem(result: Any, key: Any) -> Any:
    return result[key]


def _meant(name: str) -> str:
    from difflib import get_close_matches

    from trellis.futures import AppFuture

    similar = get_close_matches(name, [one for one in dir(AppFuture) if not one.startswith("_")], 1)
    return f" Did you mean {similar[0]}?" if similar else ""


def deferred_getattr(result: Any, name: str) -> Any:
    try:
        return getattr(result, name)
    except AttributeError:
        raise AttributeError(
            f"the result of the task, of type {type(result).__name__}, has no attribute {name!r} "
            f"(future.{name} means: take it from the result; is it a misspelt attribute of the future?{_meant(name)})",
            name=name,
            obj=result,
        ) from None


GETITEM = AppSpec(deferred_getitem, executors=(INTERNAL_EXECUTOR,))
GETATTR = AppSpec(deferred_getattr, executors=(INTERNAL_EXECUTOR,))
