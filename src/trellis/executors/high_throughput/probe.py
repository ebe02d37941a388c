"""Stand-in for Parsl's search for an address that works: here it is ``trellis.transport.probe``."""

from typing import Any

from trellis.core.missing import missing

probe_addresses: Any = missing("probe_addresses", __name__, "managers find the address of their interchange themselves")

__all__ = ["probe_addresses"]
