"""What is sent with each answer, and what is refused, by the application itself."""

from __future__ import annotations

import warnings

import pytest

from tests.recorded.runs import MadeUpRun
from trellis.dashboard.application import PAGES, Application
from trellis.dashboard.guard import Guard
from trellis.dashboard.pages import Pages
from trellis.monitoring.queries.pages_source import RecordSource

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer ones would rather have another client than httpx
    from starlette.testclient import TestClient

FIGURES = ("states", "rate", "busy", "cores", "memory", "blocks", "durations", "stream", "samples")


def client(source: RecordSource, guard: Guard | None = None, host: str = "localhost") -> TestClient:
    application = Application(Pages(source), guard or Guard.of("127.0.0.1"))
    return TestClient(application.app, base_url=f"http://{host}:8265", follow_redirects=False)


def test_every_page_and_chart_is_there(source: RecordSource, made: MadeUpRun) -> None:
    with client(source) as browser:
        for page in ("/", *(f"/run/{made.run_id}/{page}" for page in (*PAGES, "task/206"))):
            answer = browser.get(page)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), page
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
        for figure in FIGURES:
            answer = browser.get(f"/run/{made.run_id}/figure/{figure}.json?task=206")
            assert answer.status_code == 200, figure
            assert answer.json()["summary"].endswith("."), figure


@pytest.mark.parametrize(
    "path",
    ["/run/none/overview", "/run/{run}/nope", "/run/{run}/task/99999999", "/run/{run}/task/9999999999999999999999",
     "/run/{run}/figure/nope.json", "/static/guard.py", "/static/..%2fguard.py", "/nope"],
)  # fmt: skip
def test_what_is_not_there_is_said(path: str, source: RecordSource, made: MadeUpRun) -> None:
    with client(source) as browser:
        assert browser.get(path.format(run=made.run_id)).status_code == 404


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=x", "page=99999999999", "size=0", "sort=task_id;DROP", "state=nope", "text=%00", "app=%27--",
     "from=x&to=y", "from=1e99&to=-1e99", "text=" + "%25" * 300],
)  # fmt: skip
def test_odd_questions_have_answers(query: str, source: RecordSource, made: MadeUpRun) -> None:
    with client(source) as browser:
        assert browser.get(f"/run/{made.run_id}/tasks?{query}").status_code == 200
        assert browser.get(f"/run/{made.run_id}/figure/stream.json?{query}").status_code == 200


def test_a_host_of_others_is_refused(source: RecordSource) -> None:
    with client(source, host="evil.example") as browser:
        assert browser.get("/").status_code == 421


def test_pages_can_only_be_read(source: RecordSource) -> None:
    with client(source) as browser:
        assert browser.post("/").status_code == 405


def test_a_token_goes_from_the_link_into_a_cookie(source: RecordSource, made: MadeUpRun) -> None:
    guard = Guard.of("0.0.0.0")
    with client(source, guard, "login1") as browser:
        assert browser.get("/").status_code == 403
        answer = browser.get(f"/run/{made.run_id}/tasks?state=failed&token={guard.token}")
        assert (answer.status_code, answer.headers["location"]) == (307, f"/run/{made.run_id}/tasks?state=failed")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert browser.get("/").status_code == 200  # the client keeps cookies
