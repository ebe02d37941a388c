"""A real run that goes on while one looks: news come by themselves, and a task says what it waits for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.real.browser.conftest import Browser

PROGRAM = """\
import sys
import time
import trellis
from pathlib import Path
from trellis import python_app
from trellis.config import Config
from trellis.executors import HighThroughputExecutor, ThreadPoolExecutor
from trellis.providers import LocalProvider

@python_app(executors=["threads"])
def simulate(cell):
    if cell % 7 == 3:
        raise ValueError(f"negative pressure in cell {cell}")
    return cell

@python_app(executors=["threads"])
def hold(flag):
    while not Path(flag).exists():
        time.sleep(0.05)

@python_app(executors=["nowhere"])
def archive(*cells):
    return len(cells)

if __name__ == "__main__":
    nowhere = HighThroughputExecutor(label="nowhere", provider=LocalProvider(init_blocks=0, min_blocks=0, max_blocks=0))
    executors = [ThreadPoolExecutor(label="threads", max_threads=2), nowhere]
    with trellis.load(Config(executors=executors, run_dir=sys.argv[1], dashboard=True, report_failures=False)) as dfk:
        cells = [simulate(cell) for cell in range(40)]
        waiting = archive(*[cell for number, cell in enumerate(cells) if number % 7 != 3])
        held = hold(sys.argv[2])
        held.result()
        more = [simulate(cell) for cell in range(7, 10)]
        for one in more:
            one.exception()
        print("more", flush=True)
        sys.stdin.read()
        dfk.cancel_all() if hasattr(dfk, "cancel_all") else waiting.cancel()
"""


def test_a_live_run(browser: Browser, tmp_path: Path) -> None:
    program, flag = tmp_path / "program.py", tmp_path / "flag"
    program.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "runinfo"), str(flag)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "the pages of this run" in line)
        address = line.split()[-1].removesuffix("/overview")
        browser.open(f"{address}/overview")
        browser.wait_until(lambda: "What fails" in browser.text(), "failures come by themselves")
        browser.wait_until(lambda: "max_blocks is 0" in browser.text(), "it says why nothing starts")
        assert "live" in browser.text(".brand")
        browser.shoot("live-overview")
        browser.open(f"{address}/task/40")
        browser.wait_until(lambda: "Why it is there" in browser.text(), "the program is asked")
        assert "max_blocks is 0" in browser.text()
        browser.shoot("live-task")
        browser.open(f"{address}/apps")
        before = browser.text()
        flag.touch()
        browser.wait_until(lambda: browser.text() != before, "news come by themselves")
        assert browser.complaints() == []
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
