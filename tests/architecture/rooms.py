"""The rooms of ARCHITECTURE.md: a line for each file, made of the first sentence of its docstring.

``python -m tests.architecture.rooms`` writes them anew; a test compares.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.source import ROOT, SOURCE
from tests.architecture.test_public_paths import PUBLIC_PATHS

PAGE = ROOT / "ARCHITECTURE.md"
BEGIN = "<!-- The rooms: made by python -m tests.architecture.rooms -->\n"
END = "<!-- End of the rooms -->\n"
_PUBLIC = (
    "Imports of Parsl's programs find what they expect in modules that only re-export; no code of ours imports through "
    "them. Below `trellis.`:"
)
# Roughly in the order of a task's way through them.
ROOMS = (
    ".",
    "app",
    "dataflow",
    "staging",
    "core",
    "executors",
    "executors/high_throughput",
    "executors/htex",
    "executors/htex/submit",
    "executors/htex/interchange",
    "executors/htex/manager",
    "executors/htex/worker",
    "executors/taskvine",
    "executors/taskvine/front",
    "executors/taskvine/embedded",
    "executors/taskvine/embedded/manager",
    "executors/taskvine/embedded/worker",
    "executors/taskvine/embedded/factory",
    "executors/taskvine/ndcctools",
    "executors/taskvine/remote",
    "executors/workqueue",
    "executors/common",
    "remote",
    "wire",
    "transport",
    "serialize",
    "blocks",
    "providers",
    "providers/local",
    "providers/slurm",
    "providers/grid_engine",
    "providers/pbspro",
    "providers/torque",
    "providers/lsf",
    "providers/condor",
    "launchers",
    "watching",
    "monitoring",
    "monitoring/queries",
    "monitoring/radios",
    "dashboard",
    "cli",
    "jobs",
    "logconfigs",
    "configs",
    "data_provider",
    "usage_tracking",
    "benchmark",
    "as_parsl",
)


def _first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = docstring.split("\n\n")[0].replace("\n", " ")
    sentence, stop, _ = line.partition(". ")
    return (sentence + stop.strip()).replace("``", "`")


def _is_public_path(path: Path) -> bool:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) in PUBLIC_PATHS


def folders() -> list[str]:
    """Every package that holds more than public paths, from the root of all."""
    files = [path for path in SOURCE.rglob("*.py") if path.name != "__init__.py" and not _is_public_path(path)]
    return sorted({str(path.parent.relative_to(SOURCE)) for path in files if (path.parent / "__init__.py").exists()})


def _lines(room: str) -> Iterator[str]:
    folder = SOURCE / room
    yield f"#### `{'trellis' if room == '.' else room}/`"
    yield ""
    yield _first_sentence(folder / "__init__.py")
    yield ""
    yield "| file | duty |"
    yield "|---|---|"
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py" and not _is_public_path(path):
            yield f"| `{path.name}` | {_first_sentence(path).replace('|', chr(92) + '|')} |"
    yield ""


def chapter() -> str:
    """All rooms, as they are, and then what is in none of them."""
    paths = ", ".join(f"`{path.removeprefix('trellis.')}`" for path in PUBLIC_PATHS)
    return "\n".join([*(line for room in ROOMS for line in _lines(room)), "#### Public paths", "", _PUBLIC, "", paths])


def chapter_in(page: str) -> str:
    """All rooms, as the page has them."""
    return page.partition(BEGIN)[2].partition(END)[0].strip("\n")


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{chapter().strip()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
