"""Runs a packed call, as programs do that have workers of their own. Trellis's workers never come this way."""

from __future__ import annotations

import os
from typing import Any

from trellis.serialize.facade import unpack_res_spec_apply_message


def execute_task(bufs: bytes) -> Any:
    """Run what ``pack_res_spec_apply_message`` has packed; its resource specification is in ``PARSL_…`` variables."""
    func, args, kwargs, resource_specification = unpack_res_spec_apply_message(bufs)
    for name, value in resource_specification.items():
        os.environ[f"PARSL_{str(name).upper()}"] = str(value)
    return func(*args, **kwargs)
