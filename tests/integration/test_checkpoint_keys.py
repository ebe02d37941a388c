"""Keys of calls in processes of their own: results of one run are found by the next."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import dataclasses, enum, functools, pathlib
from trellis.dataflow.memo_keys import task_key

class Mode(enum.Enum):
    FAST = "fast"

@dataclasses.dataclass
class Sample:
    tags: set
    mode: Mode

def helper(x):
    return x in {"a", "b", "c"}

def make(captured):
    class Local:
        value = {"p", "q", "r"}
    def run(x, options={"u", "v", "w"}):
        return helper(x), captured, (lambda: {"k", "l"})
    return run, Local

class Call:
    func, local = make({"d", "e", "f"})
    func = staticmethod(func)
    func_name = "run"
    args = (Sample({"x", "y", "z"}, Mode.FAST), local, local(), lambda: {"s", "t"}, {"one": {1, "1"}}, object())
    kwargs = {"path": pathlib.Path("a"), "partial": functools.partial(helper, {"m", "n"})}
    ignore_for_cache = ()

print(task_key(Call()))
"""


def key_in_new_process(hash_seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_keys_do_not_depend_on_the_process() -> None:
    keys = {key_in_new_process(seed) for seed in (1, 2, 3)}
    assert len(keys) == 1
    assert len(keys.pop()) == 40
