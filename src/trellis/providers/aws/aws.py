"""Public path of a stand-in; it is made in ``trellis.providers.missing``."""

from trellis.providers.missing import AWSProvider

__all__ = ["AWSProvider"]
