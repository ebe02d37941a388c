"""Taking parts of results that are not there yet: ``future[key]`` and ``future.name``. Runs on the internal threads."""

from __future__ import annotations

from typing import Any

from trellis.dataflow.spec import AppSpec

_INTERNAL = ("_parsl_internal",)


def deferred_getitem(result: Any, key: Any) -> Any:
    return result[key]


def deferred_getattr(result: Any, name: str) -> Any:
    try:
        return getattr(result, name)
    except AttributeError:
        raise AttributeError(
            f"the result of the task, of type {type(result).__name__}, has no attribute {name!r} "
            f"(future.{name} means: take it from the result; is it a misspelt attribute of the future?)",
            name=name,
            obj=result,
        ) from None


GETITEM = AppSpec(deferred_getitem, executors=_INTERNAL)
GETATTR = AppSpec(deferred_getattr, executors=_INTERNAL)
