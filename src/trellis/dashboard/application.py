"""The web application: addresses of pages and charts, and what is sent with each answer. Reads only.

Pages ask nobody else for anything: the script of plotly comes from its package, styles and our script from ours, and a
policy that browsers keep forbids the rest.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from trellis.dashboard.guard import TOKEN, Guard
from trellis.dashboard.pages import Pages
from trellis.dashboard.templating import environment
from trellis.monitoring.queries.pages_runs import RecordedRun
from trellis.monitoring.queries.pages_tasks import SORTS, TaskFilter

logger = logging.getLogger(__name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STATIC = {"trellis.css": "text/css", "trellis.js": "text/javascript", "icon.svg": "image/svg+xml"}
PAGES = ("overview", "stream", "apps", "tasks", "failures", "places", "graph", "files")
# Seconds between two looks at a live run.
_REFRESH_S = 2
_MOST_TASKS_PER_PAGE = 1000
Next = Callable[[Request], Awaitable[Response]]


def static_text(name: str) -> bytes:
    """A file of ours that pages load."""
    return (files("trellis.dashboard") / "static" / name).read_bytes()


@cache
def plotly_script() -> bytes:
    """The script that draws charts, as its package has it."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


@cache
def _compressed() -> bytes:
    return gzip.compress(plotly_script(), 6)


@cache
def _mark(name: str) -> str:
    """Changes with the content, so that browsers may keep what has it."""
    content = plotly_script() if name == "plotly.js" else static_text(name)
    return hashlib.sha256(content).hexdigest()[:12]


class Application:
    """The pages as a web application.

    Args:
        pages: What is shown.
        guard: Who may see it.
    """

    def __init__(self, pages: Pages, guard: Guard) -> None:
        self._pages = pages
        self._guard = guard
        self._templates = environment()
        self._templates.globals.update(mark=_mark)
        routes = [
            Route("/", self._runs),
            Route("/static/plotly.js", self._plotly),
            Route("/static/{name}", self._static),
            Route("/run/{run_id}", self._to_overview),
            Route("/run/{run_id}/figure/{name}.json", self._figure),
            Route("/run/{run_id}/task/{task_id:int}", self._task),
            Route("/run/{run_id}/{page}", self._page),
        ]
        self.app = Starlette(routes=routes, exception_handlers={HTTPException: self._refused, Exception: self._failed})
        self.app.add_middleware(_Guarded, guard=guard)

    # -- pages: functions that may wait, so Starlette calls them on threads --------------------------------------

    def _runs(self, request: Request) -> Response:
        return self._html("runs.html", request, None, self._pages.runs())

    def _to_overview(self, request: Request) -> Response:
        return RedirectResponse(f"{request.url.path.rstrip('/')}/overview")

    def _page(self, request: Request) -> Response:
        run, page = self._run(request), request.path_params["page"]
        if page not in PAGES:
            raise HTTPException(404, f"There is no page {page!r}.")
        if page == "tasks":
            return self._html("tasks.html", request, run, self._pages.tasks(run, _filter(request)))
        makers: dict[str, Callable[[RecordedRun], dict[str, Any]]] = {
            "overview": self._pages.overview,
            "apps": self._pages.apps,
            "failures": self._pages.failures,
            "places": self._pages.places,
            "graph": self._pages.graph,
            "files": self._pages.files,
        }
        values = makers[page](run) if page in makers else {}
        return self._html(f"{page}.html", request, run, values)

    def _task(self, request: Request) -> Response:
        run, task_id = self._run(request), request.path_params["task_id"]
        values = self._pages.task(run, task_id) if task_id < 2**63 else None
        if values is None:
            raise HTTPException(404, f"This run has no task {task_id}.")
        return self._html("task.html", request, run, values)

    def _figure(self, request: Request) -> Response:
        found = self._pages.figure(self._run(request), request.path_params["name"], request.query_params)
        if found is None:
            raise HTTPException(404, "There is no such chart.")
        return JSONResponse(found)

    def _static(self, request: Request) -> Response:
        kind = _STATIC.get(request.path_params["name"])
        if kind is None:
            raise HTTPException(404, "There is no such file.")
        return Response(static_text(request.path_params["name"]), media_type=kind, headers=_keep(request))

    def _plotly(self, request: Request) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers = {**_keep(request), "Content-Encoding": "gzip"}
            return Response(_compressed(), media_type="text/javascript", headers=headers)
        return Response(plotly_script(), media_type="text/javascript", headers=_keep(request))

    # -- shared --------------------------------------------------------------------------------------------------

    def _run(self, request: Request) -> RecordedRun:
        run = self._pages.run(request.path_params["run_id"])
        if run is None:
            raise HTTPException(404, "There is no such run in this database.")
        return run

    def _html(
        self, template: str, request: Request, run: RecordedRun | None, values: dict[str, Any], status: int = 200
    ) -> Response:
        live = (run is not None and run.live) or (template == "runs.html" and any(one.live for one in values["runs"]))
        text = self._templates.get_template(template).render(
            run=run,
            here=template.removesuffix(".html"),
            up="../../../" if template == "task.html" else "../../" if run is not None else "/",
            base="../" if template == "task.html" else "",
            refresh_s=_REFRESH_S if live else 0,
            database=self._pages.source.shown,
            query=request.query_params,
            inline=False,
            **values,
        )
        return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})

    def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._html("message.html", request, None, {"text": error.detail}, error.status_code)

    def _failed(self, request: Request, error: Exception) -> Response:
        logger.error("%s failed", request.url.path, exc_info=error)
        text = f"This page cannot be made ({type(error).__name__}: {error}). The others may work."
        return self._html("message.html", request, None, {"text": text[:500]}, 500)


def _keep(request: Request) -> dict[str, str]:
    return {"Cache-Control": "max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"}


def _filter(request: Request) -> TaskFilter:
    query = request.query_params
    texts = {name: query.get(name, "")[:200] for name in ("app", "state", "host", "block", "executor", "text")}
    sort = query.get("sort", "id")
    return TaskFilter(
        **texts,
        sort=sort if sort in SORTS else "id",
        descending=query.get("down") == "1",
        page=_whole(query.get("page"), 1, 10**7),
        size=_whole(query.get("size"), 100, _MOST_TASKS_PER_PAGE),
    )


def _whole(text: str | None, otherwise: int, most: int) -> int:
    return min(max(int(text), 1), most) if text and text.isdecimal() and len(text) < 12 else otherwise


class _Guarded:
    """Asks the guard about each request, and sends the headers that keep browsers to our rules."""

    def __init__(self, app: Any, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        peer = (request.client.host, request.client.port) if request.client is not None else None
        port = (scope.get("server") or ("", 0))[1] or 0
        host = request.headers.get("host", "")
        refusal = self._guard.judge(host, request.query_params, request.cookies, peer, port)
        extra = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
        if refusal is not None:
            answer: Any = Response(refusal.text, refusal.status, media_type="text/plain")
        elif scope["method"] not in ("GET", "HEAD"):
            answer = Response("These pages can only be read.", 405, media_type="text/plain")
        elif self._guard.token and TOKEN in request.query_params:  # the token stays in a cookie, and leaves the address
            answer = RedirectResponse(str(request.url.remove_query_params(TOKEN)).split(host, 1)[-1] or "/")
            cookie = f"trellis-{port}={self._guard.token}; HttpOnly; SameSite=Strict; Path=/"
            extra.append((b"set-cookie", cookie.encode()))
        else:
            answer = self._app

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        await answer(scope, receive, send_with_headers)
