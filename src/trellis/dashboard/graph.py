"""Draws small graphs in layers: places for nodes, and lines between them. Pure; the SVG is made by a template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 168, 46, 72, 18, 12
_PASSES = 4


@dataclass(frozen=True, slots=True)
class Box:
    """What is drawn as a box."""

    key: str
    title: str
    text: str = ""
    href: str = ""
    colour: str = ""  # a name of the style sheet
    marked: bool = False


@dataclass(frozen=True, slots=True)
class PlacedNode:
    node: Box
    x: int
    y: int
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True, slots=True)
class PlacedEdge:
    path: str
    text: str
    x: int
    y: int
    thickness: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph with places."""

    width: int
    height: int
    nodes: Sequence[PlacedNode]
    edges: Sequence[PlacedEdge]


def draw(nodes: Sequence[Box], edges: Mapping[tuple[str, str], int]) -> Drawing:
    """Place nodes in columns, so that edges go to the right where the graph has no circles.

    Args:
        edges: numbers by (from, to); those of a node to itself are not drawn.
    """
    known = {node.key for node in nodes}
    arrows = {pair: number for pair, number in edges.items() if pair[0] != pair[1] and known.issuperset(pair)}
    layer = _layers(known, arrows)
    columns: list[list[Box]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node in nodes:
        columns[layer[node.key]].append(node)
    _order(columns, arrows)
    tallest = max((len(column) for column in columns), default=0)
    height = max(tallest * (_HEIGHT + _DOWN) - _DOWN, 0) + 2 * _EDGE
    placed: dict[str, PlacedNode] = {}
    for number, column in enumerate(columns):
        top = (height - len(column) * (_HEIGHT + _DOWN) + _DOWN) // 2
        for row, node in enumerate(column):
            placed[node.key] = PlacedNode(node, _EDGE + number * (_WIDTH + _ACROSS), top + row * (_HEIGHT + _DOWN))
    most = max(arrows.values(), default=1)
    width = max(len(columns) * (_WIDTH + _ACROSS) - _ACROSS, 0) + 2 * _EDGE
    lines = [_edge(placed[a], placed[b], number, most) for (a, b), number in sorted(arrows.items())]
    return Drawing(width, height, list(placed.values()), lines)


def _layers(keys: Iterable[str], arrows: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The longest way from a beginning to each node; edges that close a circle do not count."""
    after: dict[str, list[str]] = {key: [] for key in keys}
    for a, b in sorted(arrows):
        after[a].append(b)
    state: dict[str, int] = {}
    order: list[str] = []
    forward: list[tuple[str, str]] = []
    for root in sorted(after):
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(after[root]))]
        while stack:
            key, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[key] = 2
                order.append(key)
                stack.pop()
            elif state.get(following) != 1:
                forward.append((key, following))
                if following not in state:
                    state[following] = 1
                    stack.append((following, iter(after[following])))
    layer = dict.fromkeys(after, 0)
    onward: dict[str, list[str]] = {}
    for a, b in forward:
        onward.setdefault(a, []).append(b)
    for key in reversed(order):
        for following in onward.get(key, ()):
            layer[following] = max(layer[following], layer[key] + 1)
    return layer


def _order(columns: list[list[Box]], arrows: Iterable[tuple[str, str]]) -> None:
    """Fewer crossings: each node at about the height of what it is tied to."""
    tied: dict[str, list[str]] = {}
    for a, b in arrows:
        tied.setdefault(a, []).append(b)
        tied.setdefault(b, []).append(a)
    for _ in range(_PASSES):
        height = {node.key: (row + 0.5) / len(column) for column in columns for row, node in enumerate(column)}
        for column in columns:
            column.sort(key=lambda node: _mean([height[key] for key in tied.get(node.key, ())], height[node.key]))


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _edge(a: PlacedNode, b: PlacedNode, number: int, most: int) -> PlacedEdge:
    x1, y1 = a.x + a.width, a.y + a.height // 2
    x2, y2 = b.x, b.y + b.height // 2
    bend = max((x2 - x1) // 2, _ACROSS // 2)
    path = f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2 - 5},{y2}"
    return PlacedEdge(path, str(number), (x1 + x2) // 2, (y1 + y2) // 2 - 4, round(1.2 + 3 * number / most, 2))
