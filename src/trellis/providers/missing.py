"""Stand-ins for Parsl's providers that Trellis does not have."""

from trellis.core.missing import Missing

_INSTEAD = "start managers there yourself (see launch_cmd in docs/htex.md), or use a provider of a batch system"


class AWSProvider(Missing, was="makes blocks of virtual machines of Amazon's EC2", instead=_INSTEAD): ...


class AzureProvider(Missing, was="makes blocks of virtual machines of Microsoft Azure", instead=_INSTEAD): ...


class GoogleCloudProvider(Missing, was="makes blocks of virtual machines of Google Cloud", instead=_INSTEAD): ...


class KubernetesProvider(Missing, was="makes blocks of pods of a Kubernetes cluster", instead=_INSTEAD): ...


__all__ = ["AWSProvider", "AzureProvider", "GoogleCloudProvider", "KubernetesProvider"]
