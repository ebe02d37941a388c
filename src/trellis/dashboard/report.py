"""A run as one file to mail: queries, templates and charts of the pages, with all they load inside. No server."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from trellis.dashboard.application import plotly_script, static_text
from trellis.dashboard.pages import Pages
from trellis.dashboard.templating import environment
from trellis.errors import ConfigurationError
from trellis.monitoring.queries.pages_runs import runs
from trellis.monitoring.queries.pages_source import RecordSource

_CHARTS = (
    ("states", "Tasks by state"),
    ("busy", "Workers busy, by app"),
    ("rate", "Tasks ended per second"),
    ("blocks", "Blocks"),
    ("cores", "Cores: used, and there"),
    ("memory", "Memory: used, and there"),
    ("stream", "Workers over time"),
    ("durations", "How long attempts take"),
)


def write_report(source: RecordSource, run_id: str, output: Path) -> None:
    """Write the report of one run; of the latest when ``run_id`` is empty. The file is whole, or not there.

    Raises:
        ConfigurationError: there is no such run.
        OSError: the file cannot be written.
    """
    text = make_report(source, run_id)
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, output)
    finally:
        unfinished.unlink(missing_ok=True)


def make_report(source: RecordSource, run_id: str = "") -> str:
    """The text of the file."""
    pages = Pages(source, ask_live=False)
    if not run_id:
        known = runs(source)
        if not known:
            raise ConfigurationError(f"no run is recorded in {source.shown}")
        run_id = known[0].run_id
    run = pages.run(run_id)
    if run is None:
        ids = ", ".join(one.run_id for one in runs(source)[:5])
        raise ConfigurationError(f"no run {run_id!r} in {source.shown}; the latest are {ids}")
    values = {**pages.overview(run), **pages.apps(run), **pages.places(run), **pages.graph(run), **pages.files(run)}
    left_out = set() if values["blocks"] else {"blocks"}
    left_out |= {"cores", "memory"} if values["sampled"] is None else set()
    charts = [(name, title, _in_script(pages.figure(run, name, {}))) for name, title in _CHARTS if name not in left_out]
    return (
        environment()
        .get_template("report.html")
        .render(
            run=run,
            here="report",
            up="",
            base="",
            refresh_s=0,
            database=source.shown,
            inline=True,
            charts=charts,
            made=datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
            css=Markup(static_text("trellis.css").decode()),
            script=_script(static_text("trellis.js")),
            plotly=_script(plotly_script()),
            **{**values, "groups": pages.failures(run)["groups"]},
        )
    )


def _in_script(value: Any) -> Markup:
    """JSON that no text in it can end the element of."""
    text = json.dumps(value, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _script(text: bytes) -> Markup:
    return Markup(text.decode().replace("</script", "<\\/script").replace("<!--", "<\\!--"))
