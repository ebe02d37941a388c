"""Where things are at a manager is written by the store alone, so that indices and ``changes`` cannot be forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from trellis.executors.taskvine.embedded import manager

FOLDER = Path(str(manager.__file__)).parent
MACHINE = ["dispatcher", "file_recovery", "instances", "lifecycle", "lost_workers", "reports", "state", "workers"]
# Fields of the store, of tasks, of workers, and of libraries and their instances.
OWNED = {
    *("tasks", "queues", "waiting", "returning", "workers", "libraries", "instances", "changes", "attempts", "started"),
    *("place", "free", "expecting", "idle_since", "loner", "up", "starting", "ahead", "calls", "slots", "draining"),
}
CHANGE = {"add", "append", "clear", "discard", "extend", "pop", "popitem", "remove", "setdefault", "update"}


def writes(source: str) -> Iterator[str]:
    """What is assigned, deleted, or changed by a method, of the owned fields."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield from _owned(node if isinstance(node, ast.Attribute) else node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGE:
            yield from _owned(node.func.value)


def _owned(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute) and node.attr in OWNED:
        yield ast.unparse(node)


@pytest.mark.parametrize("name", MACHINE)
def test_only_the_store_changes_where_things_are(name: str) -> None:
    assert list(writes((FOLDER / f"{name}.py").read_text())) == []


def test_the_store_is_what_changes_it() -> None:
    assert {"self.tasks", "self.changes", "task.place", "worker.free"} <= set(writes((FOLDER / "store.py").read_text()))


def test_writes_are_seen_in_each_form() -> None:
    for statement in ("x.place = y", "x.changes += 1", "del s.tasks[1]", "s.waiting[n][1] = 2", "w.expecting.pop(n)"):
        assert list(writes(statement)), statement
    assert not list(writes("y = x.place; s.tasks.get(1); s.actions.append(x.free)"))
