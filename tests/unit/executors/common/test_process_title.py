"""What others see of a process of ours; the kernel's name of it is read by programs that cannot read spaces."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from trellis.executors.common.process_title import show_as
show_as("vine worker")
print(open("/proc/self/cmdline").read().rstrip(chr(0)), open("/proc/self/comm").read().strip(), sep=chr(10))
"""


def test_people_see_a_title_and_slurm_a_name_without_spaces() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["trellis: vine worker", "trellis-vine-wo"]
