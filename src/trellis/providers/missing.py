"""Stand-ins for Parsl's providers that Trellis does not have."""

from typing import Any

from trellis.core.missing import missing

_INSTEAD = "start managers there yourself (see launch_cmd in docs/htex.md), or use a provider of a batch system"

AWSProvider: Any = missing("AWSProvider", __name__, _INSTEAD)
AzureProvider: Any = missing("AzureProvider", __name__, _INSTEAD)
GoogleCloudProvider: Any = missing("GoogleCloudProvider", __name__, _INSTEAD)
KubernetesProvider: Any = missing("KubernetesProvider", __name__, _INSTEAD)

__all__ = ["AWSProvider", "AzureProvider", "GoogleCloudProvider", "KubernetesProvider"]
