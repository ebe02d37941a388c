"""Serializers under the names that Parsl has for its own; here all of them are ``trellis.serialize``'s one."""

from __future__ import annotations

from typing import Any

from trellis.serialize.base import SerializerBase
from trellis.serialize.facade import deserialize, serialize

__all__ = ["DillCallableSerializer", "DillSerializer", "PickleSerializer", "SerializerBase"]


class PickleSerializer(SerializerBase):
    """Pickles, and cloudpickles what pickle refuses."""

    def serialize(self, data: Any) -> bytes:
        return serialize(data)

    def deserialize(self, payload: bytes) -> Any:
        return deserialize(payload)


class DillSerializer(PickleSerializer):
    """The same: what programs made for dill, cloudpickle takes."""


class DillCallableSerializer(PickleSerializer):
    """The same, for functions."""
