"""Base of serializers, which programs written for Parsl extend. Trellis asks no serializer but its own."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any


class SerializerBase:
    """Objects to bytes and back, in one way."""

    @cached_property
    def identifier(self) -> bytes:
        """Bytes that tell this way from others: module and name of the class."""
        return f"{type(self).__module__} {type(self).__name__}".encode()

    @abstractmethod
    def serialize(self, data: Any) -> bytes:
        """Turn an object into bytes."""

    @abstractmethod
    def deserialize(self, payload: bytes) -> Any:
        """The object that ``serialize`` took."""
