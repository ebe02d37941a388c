"""What a configuration would tell of itself, for programs that ask; nothing is ever sent."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from trellis.utils import RepresentationMixin


class UsageInformation:
    """Part of a configuration that tells more than its class."""

    def get_usage_information(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        raise NotImplementedError(f"{type(self).__name__} has no get_usage_information()")


@singledispatch
def get_parsl_usage(obj: Any) -> list[Any]:
    """Classes in a configuration, each followed by those of its parameters; the part of ``obj`` is a list."""
    is_ours = type(obj).__module__.partition(".")[0] == __name__.partition(".")[0]
    return _of_a_part(obj) if is_ours or hasattr(obj, "get_usage_information") else []


@get_parsl_usage.register(list)
@get_parsl_usage.register(tuple)
def get_parsl_usage_sequence(obj: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Classes of each element, as ``get_parsl_usage`` gives them."""
    return [found for element in obj for found in get_parsl_usage(element)]


@get_parsl_usage.register(RepresentationMixin)
def get_parsl_usage_representation_mixin(obj: RepresentationMixin) -> list[Any]:
    """Classes of what shows its parameters, as ``get_parsl_usage`` gives them."""
    return _of_a_part(obj)


def _of_a_part(obj: Any) -> list[Any]:
    name = f"{type(obj).__module__}.{type(obj).__qualname__}"
    told = getattr(obj, "get_usage_information", None)
    mine: str | Mapping[str, Any] = name if told is None else {"c": name, **told()}
    parameters = list(inspect.signature(type(obj)).parameters)
    return [mine, *(found for name in parameters for found in get_parsl_usage(getattr(obj, name, None)))]
