"""Errors of serialization."""

from trellis.errors import DeserializationError, DeserializerPluginError, SerializationError

__all__ = ["DeserializationError", "DeserializerPluginError", "SerializationError"]
