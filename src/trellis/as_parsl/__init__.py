"""Programs written for Parsl, as they are: ``import trellis.as_parsl`` makes ``import parsl`` give Trellis.

``trellis run program.py`` and ``python -m trellis.as_parsl program.py`` do so before the program's first line. It holds
for the rest of this process, for the processes that it starts, and for workers.
"""

from trellis.as_parsl.alias import turn_on

__all__ = ["turn_on"]

turn_on()
