"""A real Chromium without a screen: ``python -m tests.real.browser.bed [pytest's arguments]``.

Nothing is asked of any other host: the browser's own questions are switched off, and the tests look at what it asks.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from tests.real.bed import Bed, BedError, check_machine, install, main

PACKAGES = ("chromium", "chromium-driver")
# Where Debian puts them.
BROWSER, DRIVER = "chromium", "chromedriver"


def check() -> None:
    """Raise ``BedError`` unless there is a browser, or one can be installed."""
    if shutil.which(BROWSER) is None or shutil.which(DRIVER) is None:
        check_machine()
        install(PACKAGES)
    try:
        import selenium  # noqa: F401
    except ImportError as error:
        raise BedError("selenium is not installed: pip install -r requirements-dev.txt") from error


def run(arguments: Sequence[str]) -> int:
    with Bed("browser") as bed:
        return bed.run_tests(["tests/real/browser"], arguments)


if __name__ == "__main__":
    sys.exit(main((check,), (), run, sys.argv[1:]))
