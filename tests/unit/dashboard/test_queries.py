"""Queries of the pages, held against sums over the rows in Python."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from tests.recorded.runs import BEGAN, MadeUpRun
from trellis.errors import ConfigurationError
from trellis.monitoring.queries import pages_apps, pages_failures, pages_overview, pages_places, pages_stream
from trellis.monitoring.queries.pages_overview import Bins
from trellis.monitoring.queries.pages_runs import RecordedRun, counts_of_runs, run, runs, states_of_tasks
from trellis.monitoring.queries.pages_source import RecordSource, to_seconds
from trellis.monitoring.queries.pages_tasks import TaskFilter, count_tasks, task, tasks

FINAL = {"exec_done", "failed", "dep_fail"}


def seconds(text: str) -> float:
    return to_seconds(datetime.fromisoformat(text))


def finals(made: MadeUpRun) -> dict[int, str]:
    return {row[0]: row[1] for row in made.rows["status"] if row[1] in FINAL}


def spans(made: MadeUpRun) -> list[tuple[str, str, float, float]]:
    """App, host, beginning and end of each attempt that ran."""
    apps = {row[0]: row[3] for row in made.rows["task"]}
    return [(apps[row[1]], row[4], seconds(row[7]), seconds(row[8])) for row in made.rows["try"] if row[7]]


def test_runs_come_with_their_counts(source: RecordSource, made: MadeUpRun) -> None:
    states = Counter(finals(made).values())
    assert {run.name: run.completed is None for run in runs(source)} == {"galaxies.py": False, "live.py": True}
    counts = counts_of_runs(source)[made.run_id]
    assert counts == (len(made.rows["task"]), states["exec_done"], states["failed"] + states["dep_fail"])


def test_a_run_ends_when_the_record_says_so(
    source: RecordSource, ended: RecordedRun, unfinished: RecordedRun, made: MadeUpRun
) -> None:
    assert (ended.began, ended.live) == (pytest.approx(to_seconds(BEGAN), abs=1e-3), False)
    assert ended.until == pytest.approx(seconds(made.rows["workflow"][0][4]))
    last = source.rows("SELECT MAX(timestamp) FROM status WHERE run_id = :run", {"run": unfinished.run_id})[0][0]
    assert unfinished.until == pytest.approx(seconds(last))


def test_a_run_whose_program_is_there_lasts_until_now(source: RecordSource, unfinished: RecordedRun) -> None:
    alive = run(source, unfinished.run_id, alive=True)
    assert alive is not None
    assert alive.live
    assert alive.until > unfinished.until + 3600


def test_states_of_tasks_are_counted(source: RecordSource, ended: RecordedRun, made: MadeUpRun) -> None:
    assert states_of_tasks(source, ended.run_id) == dict(Counter(finals(made).values()))


def test_tasks_that_are_not_final_have_the_state_they_are_in(source: RecordSource, unfinished: RecordedRun) -> None:
    states = states_of_tasks(source, unfinished.run_id)
    for state in ("pending", "launched", "running"):
        found = count_tasks(source, unfinished, TaskFilter(state=state))
        assert found == states.get(state, 0), state
    assert sum(states.values()) == count_tasks(source, unfinished, TaskFilter())
    assert states.get("running", 0) + states.get("launched", 0) + states.get("pending", 0) > 0


def test_states_over_time_end_with_the_states_of_tasks(source: RecordSource, ended: RecordedRun) -> None:
    series = pages_overview.states_over_time(source, ended, Bins.of(ended, 50))
    last = {state: values[-1] for state, values in series.items() if values[-1]}
    assert last == states_of_tasks(source, ended.run_id)


def test_busy_workers_are_exact_in_each_bin(source: RecordSource, ended: RecordedRun, made: MadeUpRun) -> None:
    bins = Bins.of(ended, 40)
    found = pages_overview.busy(source, ended, bins, ("app", "host"))
    wanted: Counter[tuple[tuple[str, str], int]] = Counter()
    for app, host, begun, finished in spans(made):
        for number in range(bins.number):
            left = bins.start + number * bins.width
            overlap = min(finished, left + bins.width) - max(begun, left)
            if overlap > 0:
                wanted[(app, host), number] += overlap / bins.width
    assert set(found) == {key for key, _ in wanted}
    for key, values in found.items():
        assert values == pytest.approx([wanted[key, number] for number in range(bins.number)], abs=1e-3)


def test_busy_workers_of_a_part_count_what_began_before(
    source: RecordSource, ended: RecordedRun, made: MadeUpRun
) -> None:
    middle = ended.began + ended.seconds / 2
    found = pages_overview.busy(source, ended, Bins(middle, 0.5, 4))
    total = sum(sum(values) for values in found.values()) * 0.5
    wanted = sum(max(min(end, middle + 2) - max(begun, middle), 0) for _, _, begun, end in spans(made))
    assert total == pytest.approx(wanted, abs=1e-2)


def test_workers_and_nodes(source: RecordSource, ended: RecordedRun) -> None:
    nodes = pages_overview.nodes(source, ended)
    assert [(node.hostname, node.workers, node.cpus) for node in nodes] == [(f"node0{n}", 4, 8) for n in range(3)]
    workers = pages_overview.workers_over_time(nodes, ended, Bins.of(ended, 20))
    assert max(workers) == pytest.approx(12)
    assert workers[0] < 12


def test_usage_is_that_of_the_samples(source: RecordSource, ended: RecordedRun, made: MadeUpRun) -> None:
    bins = Bins.of(ended, 30, least_s=pages_overview.sample_interval_s(source, ended) or 0)
    cores, memory = pages_overview.usage_over_time(source, ended, bins)
    last = {row[:2]: row[8] + row[9] for row in made.rows["resource"]}  # CPU seconds only grow
    assert sum(cores) * bins.width == pytest.approx(sum(last.values()), rel=1e-3)
    assert max(memory) > 2e8


def test_blocks_with_their_states(source: RecordSource, ended: RecordedRun) -> None:
    changes = pages_overview.block_states(source, ended)
    assert [change.state for change in changes if change.block_id == "0"] == ["PENDING", "RUNNING", "SCALED_IN"]
    assert [change.state for change in changes if change.block_id == "3"] == ["PENDING"]


def test_few_attempts_are_bars_in_lanes_without_overlaps(
    source: RecordSource, ended: RecordedRun, made: MadeUpRun
) -> None:
    found = pages_stream.stream(source, ended)
    assert len(found.bars) == found.attempts == len(spans(made))
    assert len(set(found.lanes)) <= 12
    ends: dict[str, float] = {}
    for bar, lane in zip(found.bars, found.lanes, strict=True):
        assert ends.get(lane, 0.0) <= bar.begun + 2e-3
        ends[lane] = bar.ended


def test_many_attempts_are_cells(source: RecordSource, ended: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_stream, "MOST_BARS", 30)
    found = pages_stream.stream(source, ended)
    assert found.bins is not None
    assert not found.bars
    assert {host for _, host in found.cells} == {"node00", "node01", "node02"}
    part = pages_stream.stream(source, ended, ended.began + 10, ended.began + 10.01)
    assert part.attempts == len(part.bars) > 0


def test_apps_are_summed_up(source: RecordSource, ended: RecordedRun, made: MadeUpRun) -> None:
    found = {app.app: app for app in pages_apps.apps(source, ended)}
    for name in ("prepare", "simulate", "analyse"):
        mine = sorted(end - begun for app, _, begun, end in spans(made) if app == name)
        app = found[name]
        assert (app.attempts, app.longest_s) == (len(mine), pytest.approx(mine[-1], abs=1e-3))
        assert app.total_s == pytest.approx(sum(mine), abs=0.1)
        assert app.quantile_s(0.5) == pytest.approx(mine[len(mine) // 2], rel=0.3)
    assert found["simulate"].failed == sum(
        1 for row in made.rows["task"] if row[3] == "simulate" and finals(made)[row[0]] != "exec_done"
    )
    assert found["simulate"].cores == pytest.approx(0.9, abs=0.1)


def test_the_graph_of_apps_counts_dependencies(source: RecordSource, ended: RecordedRun, made: MadeUpRun) -> None:
    number = sum(1 for row in made.rows["task"] if row[3] == "simulate")
    assert pages_apps.app_graph(source, ended) == [
        ("prepare", "simulate", number),
        ("simulate", "analyse", number // 10 * 10),
    ]


def test_failures_with_one_cause_are_one_group(source: RecordSource, ended: RecordedRun, made: MadeUpRun) -> None:
    groups = pages_failures.failures(source, ended)
    texts = Counter(row[9].partition("(")[0] for row in made.rows["try"] if row[9])
    assert {group.exception: group.attempts for group in groups} == dict(texts)
    space = next(group for group in groups if group.exception == "OSError")
    assert dict(space.hosts) == {"node01": space.attempts}
    assert groups[-1].followers
    values = next(group for group in groups if group.exception == "ValueError")
    last = {row[1]: row[9] for row in made.rows["try"]}
    assert values.final == sum(1 for text in last.values() if text.startswith("ValueError"))
    assert 206 in values.examples
    assert len(set(values.examples)) == len(values.examples)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ValueError('x')", "ValueError"),
        ("Traceback (most recent call last):\n  File\nparsl.errors.BadThing: no", "BadThing"),
        ("\x00 nothing like it", "failure"),
        ("", "failure"),
    ],
)
def test_the_name_of_an_exception_is_read_off_its_text(text: str, name: str) -> None:
    assert pages_failures.exception_of(text) == name


def test_work_of_hosts(source: RecordSource, ended: RecordedRun, made: MadeUpRun) -> None:
    found = {work.host: work for work in pages_places.host_work(source, ended)}
    for host, work in found.items():
        mine = [end - begun for _, where, begun, end in spans(made) if where == host]
        assert (work.attempts, work.busy_s) == (len(mine), pytest.approx(sum(mine), abs=0.1))


def test_tasks_are_filtered_sorted_and_paged(source: RecordSource, ended: RecordedRun, made: MadeUpRun) -> None:
    everything = tasks(source, ended, TaskFilter(size=1000))
    assert [row.task_id for row in everything] == sorted(finals(made))
    assert {row.task_id: row.state for row in everything} == finals(made)
    second = tasks(source, ended, TaskFilter(size=7, page=2, descending=True))
    assert [row.task_id for row in second] == sorted(finals(made), reverse=True)[7:14]
    slow = [row.ran_s for row in tasks(source, ended, TaskFilter(sort="ran", descending=True, size=30))]
    assert slow == sorted(slow, key=lambda value: -(value or 0))
    failed = tasks(source, ended, TaskFilter(state="unsuccessful", size=1000))
    assert {row.task_id for row in failed} == {one for one, state in finals(made).items() if state != "exec_done"}
    assert {row.app for row in tasks(source, ended, TaskFilter(app="analyse"))} == {"analyse"}
    host = tasks(source, ended, TaskFilter(host="node02", size=1000))
    assert {row.task_id for row in host} == {row[1] for row in made.rows["try"] if row[4] == "node02"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("in cell 206'", {206}), ("109", None), ("100%", set()), ("_", None), ("' OR 1=1 --", set())],
)
def test_tasks_are_searched(text: str, expected: set[int] | None, source: RecordSource, ended: RecordedRun) -> None:
    found = {row.task_id for row in tasks(source, ended, TaskFilter(text=text, size=1000))}
    if text == "in cell 206'":
        assert found == {206}
    elif text == "109":
        assert 109 in found
    elif text == "_":  # is no sign for any letter
        assert found < {row.task_id for row in tasks(source, ended, TaskFilter(size=1000))}
    else:
        assert found == expected


def test_one_task_has_its_attempts_and_neighbours(source: RecordSource, ended: RecordedRun) -> None:
    failed = task(source, ended, 206)
    assert failed is not None
    assert (failed.app, failed.state) == ("simulate", "failed")
    assert [attempt.failure for attempt in failed.attempts] == ["ValueError('negative pressure in cell 206')"] * 2
    assert failed.changes[0].state == "pending"
    assert [(one.task_id, one.state) for one in failed.needs] == [(205, "exec_done")]
    assert [(one.app, one.state) for one in failed.needed_by] == [("analyse", "dep_fail")]
    assert task(source, ended, 10**6) is None


@pytest.mark.parametrize("content", [None, b"", b"this is no database, whatever it is called"])
def test_what_is_no_database_is_said(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"other\.db"):
        RecordSource(file)


def test_a_database_is_never_written(source: RecordSource) -> None:
    with pytest.raises(Exception, match="readonly"):
        source.rows("DELETE FROM task")


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as raised:
        RecordSource("postgresql+psycopg://ada:sesame@127.0.0.1:1/runs")
    assert "sesame" not in str(raised.value)
