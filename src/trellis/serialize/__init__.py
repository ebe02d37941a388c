"""Objects to bytes and back, as Trellis itself does it; see ``trellis.serialize.facade``."""

from typing import Any

from trellis.serialize.facade import (
    deserialize,
    pack_apply_message,
    pack_res_spec_apply_message,
    serialize,
    unpack_and_deserialize,
    unpack_apply_message,
    unpack_res_spec_apply_message,
)

__all__ = [
    "deserialize",
    "pack_apply_message",
    "pack_res_spec_apply_message",
    "serialize",
    "unpack_and_deserialize",
    "unpack_apply_message",
    "unpack_res_spec_apply_message",
]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
