"""The ends of records: what reads the record of a run that is over waits for its rest, or says that it is not there."""

from __future__ import annotations

import sys
import time

from trellis.monitoring.recovery import finish_record, is_complete

# Who asks for a run waits so long for the rest of its record.
_PATIENCE_S = 10.0
_LOOK_S = 0.2


def complete_record(command: str, run_dir: str, patience_s: float = _PATIENCE_S) -> bool:
    """Have the rest of an ended run's record written, if nobody does; False: that takes longer, and it was said.

    Args:
        command: who says so.
        run_dir: of a run whose program is gone.
        patience_s: how long to wait.
    """
    until = time.monotonic() + patience_s
    if not is_complete(run_dir):
        finish_record(run_dir, patience_s)
    while not is_complete(run_dir):  # another process is at it
        if time.monotonic() > until:
            print(
                f"{command}: the record of {run_dir} is not complete yet, and lacks what happened last: ask again in a "
                "while; files in its directory monitoring/ say why if it stays so",
                file=sys.stderr,
            )
            return False
        time.sleep(_LOOK_S)
    return True
