"""Writes docs/watching.md: runs ``ensemble.py``, asks Trellis about it, and takes pictures of its pages.

``python docs/watching/record.py`` needs Trellis with its extras ``monitoring`` and ``dashboard``, selenium, and
Debian's chromium and chromium-driver. What the page says is in ``text.md``. There, a line ``$ command`` in a block is
run, and what it prints comes below it; ``<!-- start COMMAND -->`` starts the program, ``<!-- wait SECONDS -->`` lets it
run, and ``<!-- end -->`` waits for its end and stands for what it printed. A picture names the page that it shows. The
cluster is a stand-in: ``sbatch`` takes the jobs, and ``squeue`` says that they wait for their turn.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COMMAND = re.compile(r"^\$ (.*)$")
STEP = re.compile(r"^<!-- (start|wait|end)(?: (.*))? -->$")
PICTURE = re.compile(r"^(!\[.*\]\(watching/([\w-]+\.png)\))<!-- (\S*) -->$")
WIDTH, HEIGHT = 1280, 900
COLUMNS = 112  # what a page of GitHub's shows without scrolling

SLURM = {
    "sbatch": "touch jobs/$$; echo Submitted batch job $((4710 + $(ls jobs | wc -l)))",
    "squeue": 'for n in $(seq $(ls jobs | wc -l)); do echo "$((4710 + n))|PENDING|QOSMaxJobsPerUserLimit"; done',
    "scancel": "rm -f jobs/*",
}


def stand_ins(directory: Path) -> None:
    """The commands of a cluster that is busy."""
    (directory / "bin").mkdir()
    (directory / "jobs").mkdir()
    for name, script in SLURM.items():
        path = directory / "bin" / name
        path.write_text(f"#!/bin/sh\ncd {shlex.quote(str(directory))}\n{script}\n")
        path.chmod(0o755)


class Session:
    """The program in a directory of its own, and what is asked of it there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        stand_ins(directory)
        (directory / "ensemble.py").write_text((HERE / "ensemble.py").read_text())
        path = os.pathsep.join([str(directory / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "COLUMNS": str(COLUMNS), "LC_ALL": "C.UTF-8"}
        self.program: subprocess.Popen[str] | None = None

    def start(self, command: str) -> None:
        with (self.directory / "output").open("w") as output:
            self.program = subprocess.Popen(
                shlex.split(command), cwd=self.directory, env=self.environment, stdout=output, stderr=output, text=True
            )

    def end(self) -> str:
        """What the program printed, when it has ended."""
        assert self.program is not None
        self.program.wait(timeout=300)
        return self.shown((self.directory / "output").read_text())

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", f"{command} 2>&1"],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return self.shown(done.stdout)

    def shown(self, text: str) -> str:
        """Without the name of a directory that nobody else has, and without what ends lines invisibly."""
        text = re.sub(r"/tmp/tmp\w*", "/scratch/ensemble", text.replace(str(self.directory), "/scratch/ensemble"))
        return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))


class Dashboard:
    """The dashboard of the run, and a browser that looks at it."""

    def __init__(self, session: Session) -> None:
        from selenium import webdriver

        self.server = subprocess.Popen(
            ["trellis", "dashboard", "runinfo"],
            cwd=session.directory,
            env=session.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.server.stdout is not None
        found = None
        while found is None:
            found = re.search(r"http://\S+", self.server.stdout.readline())
        facts = json.loads((session.directory / "runinfo" / "000" / "run.json").read_text())["facts"]
        self.address = f"{found[0].rstrip('/')}/run/{facts['run_id']}/"
        service = webdriver.ChromeService("/usr/bin/chromedriver")  # else selenium would look for one in the internet
        options = webdriver.ChromeOptions()
        for option in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"):
            options.add_argument(option)
        self.browser: Any = webdriver.Chrome(options=options, service=service)

    def picture(self, page: str, file: str) -> None:
        self.browser.get(self.address + page)
        time.sleep(3.0)  # charts are drawn by then
        self.browser.save_screenshot(str(HERE / file))

    def close(self) -> None:
        self.browser.quit()
        self.server.terminate()
        self.server.wait(timeout=30)


def page(text: str, session: Session) -> Iterator[str]:
    """The lines of the page, one after the other, as what they ask for is done."""
    dashboard: Dashboard | None = None
    try:
        for line in text.splitlines():
            if match := COMMAND.match(line):
                yield line
                yield session.run(match[1])
            elif match := STEP.match(line):
                if match[1] == "start":
                    session.start(match[2])
                elif match[1] == "wait":
                    time.sleep(float(match[2]))
                else:
                    yield session.end()
            elif match := PICTURE.match(line):
                dashboard = dashboard or Dashboard(session)
                dashboard.picture(match[3], match[2])
                yield match[1]
            else:
                yield line
    finally:
        if dashboard is not None:
            dashboard.close()
        if session.program is not None and session.program.poll() is None:
            session.program.terminate()


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        lines = list(page((HERE / "text.md").read_text(), Session(Path(directory))))
    (HERE.parent / "watching.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
