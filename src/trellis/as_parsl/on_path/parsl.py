"""Found by ``import parsl`` in processes of a program that runs as Parsl's: puts Trellis in its own place."""

import sys

del sys.modules[__name__]

from trellis.as_parsl.alias import turn_on  # noqa: E402

turn_on()
