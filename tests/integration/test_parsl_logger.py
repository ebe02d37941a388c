"""The logger ``parsl`` in programs that find Trellis under Parsl's name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import io, logging
{before}
import trellis.as_parsl
import parsl

handler = logging.StreamHandler(seen := io.StringIO())
logging.getLogger("parsl").addHandler(handler)
with parsl.load(parsl.Config(run_dir={run_dir!r})):
    pass
assert "is cleaned up" in seen.getvalue(), seen.getvalue()
{after}
"""

_RECORDS_OF_THE_PROGRAM = """
close = parsl.set_stream_logger(stream=(stream := io.StringIO()))
logging.getLogger("parsl").info("one")
logging.getLogger("parsl.mine").info("two")
close()
logging.getLogger("parsl").info("three")
assert [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()] == ["one", "two"], stream.getvalue()
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", _RECORDS_OF_THE_PROGRAM),
        ("logging.getLogger('parsl').setLevel(logging.INFO)", ""),
        ("logging.getLogger('parsl.mine')", ""),
    ],
)
def test_handlers_of_the_logger_get_the_records_of_trellis(before: str, after: str, tmp_path: Path) -> None:
    program = _PROGRAM.format(before=before, after=after, run_dir=str(tmp_path / "runs"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
