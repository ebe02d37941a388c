"""Public path of the exceptions of serialization; they are defined in ``trellis.errors``."""

from trellis.errors import DeserializationError, DeserializerPluginError, ParslError, SerializationError

__all__ = ["DeserializationError", "DeserializerPluginError", "ParslError", "SerializationError"]
