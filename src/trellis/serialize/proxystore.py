"""Stand-ins for Parsl's serializers with ProxyStore."""

from trellis.core.missing import Missing

_INSTEAD = "give proxies as arguments and results: they travel as what they refer to their store by"


class ProxyStoreSerializer(Missing, was="puts large objects into a store of ProxyStore", instead=_INSTEAD): ...


class ProxyStoreDeepPickler(Missing, was="pickles large parts of objects as proxies", instead=_INSTEAD): ...
