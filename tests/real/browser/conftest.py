"""Chromium, and pages of made-up runs to look at."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.browser.bed import BROWSER, DRIVER
from tests.recorded.runs import MadeUpRun
from trellis.dashboard.application import Application
from trellis.dashboard.guard import Guard
from trellis.dashboard.pages import Pages
from trellis.dashboard.serve import listen, serve
from trellis.monitoring.queries.pages_source import RecordSource

_READY_S = 60.0


class Browser:
    """A browser's window."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Open a page, and wait until its charts are drawn."""
        self.driver.get(address)
        self.wait_until(lambda: self.ask("return document.documentElement.dataset.ready === 'yes'"), address)

    def ask(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait_until(self, is_so: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _READY_S
        while not is_so():
            assert time.monotonic() < deadline, f"not so after {_READY_S:g} s: {what}"
            time.sleep(0.05)

    def complaints(self) -> list[str]:
        """What stands on the browser's console, charts that are not drawn, and requests to other hosts."""
        found = [entry["message"] for entry in self.driver.get_log("browser")]
        found += self.ask(
            "return [...document.querySelectorAll('figure[data-drawn=no] figcaption')].map(e => e.textContent)"
        )
        asked = self.ask("return performance.getEntriesByType('resource').map(e => e.name)")
        return found + [name for name in asked if not name.startswith(self.ask("return location.origin"))]

    def text(self, selector: str = "main") -> str:
        return str(self.ask("return document.querySelector(arguments[0]).innerText", selector))

    def press(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def shoot(self, name: str) -> None:
        """Save a picture where ``TRELLIS_SCREENSHOTS`` says, for people to look at."""
        if directory := os.environ.get("TRELLIS_SCREENSHOTS"):
            height = self.ask("return document.documentElement.scrollHeight")
            self.driver.set_window_size(1400, min(max(height + 140, 600), 2600))
            self.driver.save_screenshot(str(Path(directory) / f"{name}.png"))
            self.driver.set_window_size(1400, 1000)


@pytest.fixture  # for each test, whose end looks for processes that are left
def chromium() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(shutil.which(BROWSER))
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000",
        "--disable-background-networking", "--disable-component-update", "--no-first-run", "--hide-scrollbars",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which(DRIVER))))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Browser]:
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    yield Browser(chromium)
    chromium.get("about:blank")


Serve = Callable[[Path], str]


@pytest.fixture
def served() -> Iterator[Serve]:
    """Serve a database from now on; gives the address."""
    ends, threads, sources = threading.Event(), [], []

    def start(database: Path) -> str:
        source = RecordSource(database)
        listening = listen("127.0.0.1", 0)
        guard = Guard.of("127.0.0.1")
        thread = threading.Thread(target=serve, args=(Application(Pages(source), guard).app, listening, ends))
        thread.start()
        threads.append(thread)
        sources.append(source)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    ends.set()
    for thread in threads:
        thread.join()
    for source in sources:
        source.close()


@pytest.fixture
def made(tmp_path: Path) -> MadeUpRun:
    """A run of 5,000 tasks with failures, in ``monitoring.db``."""
    return MadeUpRun(tasks=5000, hosts=6, workers=8).write(tmp_path / "monitoring.db")
