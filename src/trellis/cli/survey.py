"""Surveys a tree of Python source in parallel: its size, its names, its long functions, its copied code.

An ordinary program of Trellis, which ``trellis demo`` and ``examples/stdlib_survey.py`` run. The shape of the work: one
task per file, a tree of merges, a join app that looks closer at the packages that turn out to be the largest, a shell
command that packs the report.
"""

from __future__ import annotations

import ast
import hashlib
import heapq
import io
import keyword
import tokenize
import warnings
from collections import Counter, defaultdict
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import trellis
from trellis import File, bash_app, join_app, python_app
from trellis.futures import AppFuture

SKIPPED = {"site-packages", "dist-packages", "node_modules", "__pycache__"}  # other people's code, and no code
MERGE_WIDTH = 16  # results that one merge takes: few enough to start early, many enough to keep the tree flat
CLOSER_LOOKS = 4  # packages examined for copied code
LISTED = 12  # entries in each list of the report

Measures = dict[str, Any]
Fingerprint = tuple[int, str]  # size of a function's body, and its digest


# -- map: one task per file ------------------------------------------------------------------------------------


@python_app
def measure_file(path: str, package: str) -> Measures:
    """Tokenise one file: count its lines and names, and measure its functions."""
    try:
        with tokenize.open(path) as file:
            text = file.read()
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (OSError, SyntaxError, ValueError, tokenize.TokenError) as error:
        return {"unreadable": [f"{path}: {type(error).__name__}: {error}"]}

    names: Counter[str] = Counter()
    functions: list[tuple[int, int, str]] = []  # (lines, nesting, where)
    unfinished: list[list[Any]] = []  # [name, first line, level of its def, deepest level inside]
    level = code_lines = comments = last_line = 0
    previous, line_begins = "", True

    def finish() -> None:
        name, first_line, own_level, deepest = unfinished.pop()
        functions.append((last_line - first_line + 1, deepest - own_level - 1, f"{path}:{first_line} {name}"))

    for kind, word, (row, _), (end_row, _), _ in tokens:
        if kind == tokenize.INDENT:
            level += 1
        elif kind == tokenize.DEDENT:
            level -= 1
        elif kind == tokenize.COMMENT:
            comments += 1
        elif kind == tokenize.NEWLINE:
            line_begins = True
        elif kind not in (tokenize.NL, tokenize.ENDMARKER):
            while line_begins and unfinished and unfinished[-1][2] >= level:
                finish()
            line_begins = False
            code_lines += end_row - max(row, last_line + 1) + 1
            last_line = end_row
            if kind == tokenize.NAME and not keyword.iskeyword(word):
                names[word] += 1
                if previous == "def":
                    unfinished.append([word, row, level, level + 1])
            for function in unfinished:
                function[3] = max(function[3], level)
            previous = word
    while unfinished:
        finish()
    return {
        "files": 1,
        "lines": text.count("\n"),
        "code lines": code_lines,
        "comments": comments,
        "functions": len(functions),
        "names": names,
        "packages": Counter({package: code_lines}),
        "longest": heapq.nlargest(LISTED, functions),
        "deepest": heapq.nlargest(LISTED, ((nesting, lines, where) for lines, nesting, where in functions)),
        "unreadable": [],
    }


# -- reduce: a tree of merges ----------------------------------------------------------------------------------


@python_app
def merge(inputs: list[Measures]) -> Measures:
    """Add up what several tasks have measured."""
    total: Measures = dict.fromkeys(("files", "lines", "code lines", "comments", "functions"), 0)
    total |= {"names": Counter(), "packages": Counter(), "longest": [], "deepest": [], "unreadable": []}
    for part in inputs:
        for key, value in part.items():
            if isinstance(value, Counter):
                total[key].update(value)
            else:
                total[key] += value
    for key in ("longest", "deepest"):
        total[key] = heapq.nlargest(LISTED, total[key])
    return total


def merge_all(parts: list[AppFuture[Measures]]) -> AppFuture[Measures]:
    """Merge in groups, and the groups in groups, until one is left."""
    while True:
        parts = [merge(inputs=parts[i : i + MERGE_WIDTH]) for i in range(0, len(parts), MERGE_WIDTH)]
        if len(parts) == 1:
            return parts[0]


# -- a closer look: which tasks there are depends on what was found --------------------------------------------


@python_app
def fingerprint_functions(paths: list[str]) -> list[tuple[Fingerprint, str]]:
    """Pairs (fingerprint of the body, where) of the functions in some files that have at least five statements."""
    warnings.simplefilter("ignore", SyntaxWarning)  # odd escapes in other people's strings
    found = []
    for path in paths:
        try:
            with tokenize.open(path) as file:
                tree = ast.parse(file.read())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue  # measure_file reports such files
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(node.body) >= 5:
                code = "".join(map(ast.dump, node.body)).encode()  # layout and comments do not count
                found.append(((len(code), hashlib.sha256(code).hexdigest()), f"{path}:{node.lineno} {node.name}"))
    return found


@python_app
def find_copies(package: str, inputs: list[list[tuple[Fingerprint, str]]]) -> tuple[str, list[list[str]]]:
    """Groups of functions of one package that have the same body, the largest bodies first."""
    places = defaultdict(list)
    for fingerprint, where in (pair for part in inputs for pair in part):
        places[fingerprint].append(where)
    return package, [
        places[fingerprint] for fingerprint in sorted(places, reverse=True) if len(places[fingerprint]) > 1
    ]


@join_app
def look_closer(total: Measures, paths: dict[str, list[str]]) -> list[Future[Any]]:
    """Search the largest packages for copied functions: one task per 25 files, and one per package to compare them."""
    looks: list[Future[Any]] = []
    for package, _ in total["packages"].most_common(CLOSER_LOOKS):
        batches = -(-len(paths[package]) // 25)
        looks.append(
            find_copies(package, inputs=[fingerprint_functions(paths[package][i::batches]) for i in range(batches)])
        )
    return looks


# -- the report ------------------------------------------------------------------------------------------------


@python_app
def write_report(root: str, total: Measures, copies: list[tuple[str, list[list[str]]]], outputs: list[File]) -> None:
    """Write what was found as plain text; paths in it are relative to ``root``."""
    counts = ("files", "lines", "code lines", "comments", "functions")
    sections = {
        "Size": [f"{total[key]:>12,} {key}" for key in counts],
        "Largest packages, by lines of code": [f"{n:>12,} {name}" for name, n in total["packages"].most_common(LISTED)],
        "Commonest names": [f"{n:>12,} {name}" for name, n in total["names"].most_common(LISTED)],
        "Longest functions, in lines": [f"{lines:>12,} {where}" for lines, _, where in total["longest"]],
        "Deepest functions, in levels": [f"{levels:>12,} {where}" for levels, _, where in total["deepest"]],
        "Could not be read": [f"{'-':>12} {what}" for what in total["unreadable"]],
    }
    for package, groups in copies:
        title = f"Functions of {package} that have the same body, in {len(groups)} groups"
        sections[title] = [f"{len(places):>12,} copies: {', '.join(places)}" for places in groups[:LISTED]]
    text = "\n\n".join("\n".join([title, "-" * len(title), *lines]) for title, lines in sections.items() if lines)
    text = f"Survey of {root}\n\n" + text.replace(f"{root}/", "") + "\n"
    Path(outputs[0]).write_text(text, encoding="utf-8")


@bash_app
def compress(inputs: list[File], outputs: list[File]) -> str:
    """Pack the report."""
    return f"gzip --best --no-name --stdout '{inputs[0]}' > '{outputs[0]}'"


# -- all together ----------------------------------------------------------------------------------------------


def find_sources(root: Path) -> dict[str, list[str]]:
    """Paths of the Python files below ``root`` by package (its first folder), without other people's packages."""
    found = defaultdict(list)
    for path in sorted(root.rglob("*.py")):
        *folders, _ = path.relative_to(root).parts
        if path.is_file() and not any(folder in SKIPPED or folder.startswith(".") for folder in folders):
            found[folders[0] if folders else "(top level)"].append(str(path))
    return dict(found)


def survey(root: Path, output: Path) -> AppFuture[int]:
    """Start the survey of ``root``; ``report.txt.gz`` in ``output`` is complete when the future is."""
    sources = find_sources(root)
    largest_first = sorted(
        ((path, package) for package, paths in sources.items() for path in paths),
        key=lambda item: Path(item[0]).stat().st_size,
        reverse=True,  # so that no long task is left for the end
    )
    total = merge_all([measure_file(path, package) for path, package in largest_first])
    copies = look_closer(total, sources)
    report = write_report(str(root), total, copies, outputs=[File(output / "report.txt")])
    return compress(inputs=[report.outputs[0]], outputs=[File(output / "report.txt.gz")])


def make_config(executor: str, workers: int, run_dir: str, **options: Any) -> trellis.Config:
    """A configuration for this machine: threads of this process, or worker processes."""
    if executor == "threads":
        return trellis.Config([trellis.ThreadPoolExecutor(max_threads=workers)], run_dir=run_dir, **options)
    htex = trellis.HighThroughputExecutor(
        max_workers_per_node=workers, cores_per_worker=0.01, prefetch_capacity=workers
    )
    return trellis.Config([htex], run_dir=run_dir, **options)
