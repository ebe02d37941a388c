"""Stands where the tests of a release of Parsl lie, as their package: Trellis under Parsl's name."""

import sys

del sys.modules[__name__]

from trellis.as_parsl.alias import turn_on  # noqa: E402

turn_on()
