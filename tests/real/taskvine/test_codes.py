"""TaskVine's own names and numbers, against ours."""

from __future__ import annotations

import json
import subprocess
import sys

from trellis.errors import TASKVINE_STATUS
from trellis.executors.taskvine.front.outcomes import MEANINGS
from trellis.executors.taskvine.ndcctools.mapping import STATUSES

# In an interpreter of its own: it warns of packages that some of its parts would like, and imports much.
_PROGRAM = """
import json
from ndcctools.taskvine import cvine
numbers = [getattr(cvine, name) for name in dir(cvine) if name.startswith("VINE_RESULT_")]
print(json.dumps({cvine.vine_result_string(number): number for number in numbers}))
"""


def test_every_result_of_taskvine_has_our_name_and_its_number() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _PROGRAM], capture_output=True, text=True, check=True)
    numbers = json.loads(done.stdout)
    assert numbers.pop("SUCCESS") == 0
    # As ndcctools' Task.result makes them.
    ours = {STATUSES[name.lower().replace("_", " ")]: number for name, number in numbers.items()}
    assert ours == {name: TASKVINE_STATUS[name] for name in ours}
    assert len(ours) == len(numbers) == 15


def test_every_status_has_a_meaning() -> None:
    assert set(STATUSES.values()) == set(TASKVINE_STATUS) == set(MEANINGS)
