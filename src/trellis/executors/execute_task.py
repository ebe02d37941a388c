"""Runs a packed call, as programs do that have workers of their own. Trellis's workers never come this way."""

from __future__ import annotations

import os
from typing import Any

from trellis.errors import DeserializationError
from trellis.serialize.facade import unpack_and_deserialize


def execute_task(bufs: bytes) -> Any:
    """Run what ``pack_apply_message`` has packed.

    Of ``pack_res_spec_apply_message``, the resource specification is in ``PARSL_…`` variables.
    """
    parts = unpack_and_deserialize(bufs)
    if len(parts) not in (3, 4):
        raise DeserializationError(f"the packed call has {len(parts)} parts instead of 3 or 4")
    func, args, kwargs = parts[:3]
    for name, value in (parts[3] if parts[3:] else {}).items():
        os.environ[f"PARSL_{str(name).upper()}"] = str(value)
    return func(*args, **kwargs)
