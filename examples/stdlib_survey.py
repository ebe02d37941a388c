"""Survey a tree of Python source: its size, its names, its long functions, its copied code.

    python stdlib_survey.py [DIRECTORY] [--executor threads|htex] [--workers N] [--output DIRECTORY]

Without a directory it reads Python's own standard library. The apps, and how they are put together, are in the module
trellis.cli.survey, which `trellis demo` runs as well; read that one.
"""

from __future__ import annotations

import argparse
import sysconfig
from pathlib import Path

import trellis
from trellis.cli.survey import make_config, survey


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--executor", choices=["threads", "htex"], default="htex")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("survey"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with trellis.load(make_config(options.executor, options.workers, str(options.output / "runinfo"))):
        survey(options.directory.absolute(), options.output.absolute()).result()
    print((options.output / "report.txt").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
