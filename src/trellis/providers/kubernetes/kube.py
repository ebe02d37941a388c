"""Public path of a stand-in; it is made in ``trellis.providers.missing``."""

from trellis.providers.missing import KubernetesProvider

__all__ = ["KubernetesProvider"]
