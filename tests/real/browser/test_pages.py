"""Every page in a real browser: what is on it, without a complaint on the console and without a question to others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.browser.conftest import Browser, Serve
from tests.recorded.runs import MadeUpRun
from trellis.dashboard.application import PAGES
from trellis.dashboard.report import write_report
from trellis.monitoring.queries.pages_source import RecordSource

EXPECTED = {
    "overview": ["of 5 000 tasks ended", "What fails", "negative pressure", "79 % busy"],
    "stream": ["attempts on 6 hosts"],
    "apps": ["simulate", "prepare", "analyse", "How long attempts take"],
    "tasks": ["5 000 tasks", "page 1 of 50"],
    "failures": ["simulate: ValueError", "not run, because others had failed"],
    "places": ["node03", "htex block 6", "pending"],
    "graph": ["simulate", "Dependencies"],
    "files": ["No files or libraries are recorded"],
}


def plain(text: str) -> str:
    return text.replace("\u202f", " ")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page(theme: str, browser: Browser, served: Serve, made: MadeUpRun, tmp_path: Path) -> None:
    browser.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    address = served(tmp_path / "monitoring.db")
    browser.open(f"{address}/")
    assert "galaxies.py" in browser.text()
    for page in (*PAGES, "task/206"):
        browser.open(f"{address}/run/{made.run_id}/{page}")
        assert browser.complaints() == [], page
        text = plain(browser.text())
        for words in EXPECTED.get(page, ["What it needs", "prepare 205", "Attempt 2 failed"]):
            assert words in text, (page, words)
        assert browser.ask("return document.documentElement.dataset.theme") == theme
        browser.shoot(f"{theme}-{page.replace('/', '-')}")


def test_charts_are_drawn_and_say_the_same_as_a_table(
    browser: Browser, served: Serve, made: MadeUpRun, tmp_path: Path
) -> None:
    browser.open(f"{served(tmp_path / 'monitoring.db')}/run/{made.run_id}/overview")
    assert browser.ask("return document.querySelectorAll('.plot svg.main-svg').length") >= 6
    assert browser.ask("return document.querySelectorAll('#chart-states .numbers tbody tr').length") > 10
    last = browser.ask(
        "return [...document.querySelectorAll('#chart-states tbody tr:last-child td')].map(e => e.textContent)"
    )
    assert plain(last[1]) == "4 948"


def test_the_task_stream_is_zoomed_by_buttons_until_tasks_are_seen(
    browser: Browser, served: Serve, made: MadeUpRun, tmp_path: Path
) -> None:
    browser.open(f"{served(tmp_path / 'monitoring.db')}/run/{made.run_id}/stream")
    caption = "#chart-stream figcaption"
    for _ in range(2):
        before = browser.text(caption)
        browser.ask("document.querySelector('[data-zoom=in]').click()")
        browser.wait_until(lambda before=before: browser.text(caption) != before, "another part is drawn")
    assert "workers. Choose a bar" in browser.text(caption)
    part = browser.ask("return location.search")
    assert part.startswith("?from=")
    browser.shoot("stream-closer")
    browser.open(browser.ask("return location.href"))  # what one sees can be sent to others
    assert "workers. Choose a bar" in browser.text(caption)
    browser.ask("document.querySelector('[data-zoom=all]').click()")
    browser.wait_until(lambda: "hosts" in browser.text(caption), "all is drawn")
    assert browser.complaints() == []


def test_a_keyboard_is_enough(browser: Browser, served: Serve, made: MadeUpRun, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(f"{served(tmp_path / 'monitoring.db')}/run/{made.run_id}/overview")
    browser.press(Keys.TAB)
    assert browser.ask("return document.activeElement.textContent") == "Skip to the content"
    browser.press("4")
    browser.wait_until(lambda: browser.ask("return location.pathname").endswith("/tasks"), "the page of tasks")
    browser.wait_until(lambda: browser.ask("return document.documentElement.dataset.ready"), "it is ready")
    browser.press("/")
    assert browser.ask("return document.activeElement.id") == "search"
    browser.press("cell 206" + Keys.ENTER)
    browser.wait_until(lambda: "1 task" in browser.text(), "what was searched")
    assert browser.ask("return document.querySelectorAll('tbody tr').length") == 1
    browser.press("d")
    assert browser.ask("return document.documentElement.dataset.theme") == "dark"
    browser.press("d")
    # Everything that can be used has a name, and nothing is used by a pointer only.
    nameless = browser.ask(
        "return [...document.querySelectorAll('a, button, input:not([type=hidden]), select')]"
        ".filter(e => !(e.textContent.trim() || e.closest('label') || e.ariaLabel)).length"
    )
    assert nameless == 0


def test_a_hundred_thousand_tasks(browser: Browser, served: Serve, tmp_path: Path) -> None:
    made = MadeUpRun(tasks=100_000, hosts=16, workers=16, samples=False).write(tmp_path / "many.db")
    address = served(tmp_path / "many.db")
    for page in PAGES:
        browser.open(f"{address}/run/{made.run_id}/{page}")
        assert browser.complaints() == [], page
        browser.shoot(f"many-{page}")
    assert "100 00" in plain(browser.text("main")) or page == "files"


def test_what_a_database_holds_is_text(browser: Browser, served: Serve, tmp_path: Path) -> None:
    import sqlite3

    evil = "<img src=x onerror=\"document.title='run'\"></script><script>document.title='run'</script>"
    made = MadeUpRun(tasks=60, name=evil, rundir=evil).write(tmp_path / "evil.db")
    with sqlite3.connect(tmp_path / "evil.db") as database:
        for table, column in (("task", "task_func_name"), ("task", "task_inputs"), ("try", "hostname"),
                              ("try", "block_id"), ("node", "hostname"), ("block", "job_id")):  # fmt: skip
            database.execute(f'UPDATE "{table}" SET {column} = ? WHERE rowid % 3 = 0', (evil,))
        database.execute('UPDATE "try" SET task_fail_history = ? WHERE rowid % 5 = 0', (f"ValueError({evil!r})",))
    database.close()
    address = served(tmp_path / "evil.db")
    for page in (*PAGES, "task/2"):
        browser.open(f"{address}/run/{made.run_id}/{page}")
        assert browser.complaints() == [], page
        assert browser.ask("return document.title") != "run", page
        assert browser.ask("return document.querySelectorAll('main img, main script:not([type])').length") == 0, page
    report = tmp_path / "report.html"
    source = RecordSource(tmp_path / "evil.db")
    write_report(source, made.run_id, report)
    source.close()
    browser.open(report.as_uri())
    assert browser.ask("return document.title") != "run"


def test_a_report_is_one_file(browser: Browser, made: MadeUpRun, tmp_path: Path) -> None:
    output = tmp_path / "mailed" / "report.html"
    output.parent.mkdir()
    command = [sys.executable, "-m", "trellis", "report", str(tmp_path), "-o", str(output)]
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE)
    assert [file.name for file in output.parent.iterdir()] == ["report.html"]
    browser.open(output.as_uri())
    assert browser.complaints() == []
    text = plain(browser.text())
    for words in ("of 5 000 tasks ended", "simulate: ValueError", "Workers over time", "node03"):
        assert words in text
    browser.shoot("report")
