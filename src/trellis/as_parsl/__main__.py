"""``python -m trellis.as_parsl program.py``: as ``trellis run program.py``."""

import sys

from trellis.cli.program import run

sys.exit(run(sys.argv[1:], "python -m trellis.as_parsl"))
