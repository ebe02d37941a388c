"""Runs calls that arrive as bytes (``submit_payload``). Loaded by the workers that get one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from trellis.serialize import unpack_apply_message


def run_payload(buffer: bytes, task_executor: Mapping[str, Any] | None) -> Any:
    """Run the call in ``buffer``.

    Args:
        buffer: what ``pack_apply_message`` gave; with ``task_executor`` any bytes.
        task_executor: who understands the buffer: ``f``, the dotted name of a function that is called with it, and
            ``a`` and ``k``, further arguments for it.
    """
    if not task_executor:
        function, args, kwargs = unpack_apply_message(buffer)
        return function(*args, **kwargs)
    module, _, name = task_executor["f"].rpartition(".")
    return getattr(import_module(module), name)(buffer, *task_executor.get("a", ()), **task_executor.get("k", {}))
