"""The distribution trellis-as-parsl: installed, it is Parsl to programs and to what requires Parsl."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import trellis
from tests.integration.as_parsl import REAL, SAYS, environment

pytestmark = pytest.mark.slow
pytest.importorskip("hatchling")
pytest.importorskip("pip")

ROOT = Path(__file__).parents[3]
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "{version}"
dependencies = {dependencies}
[project.scripts]
{package}-script = "{package}:main"
[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""
DEPENDANT = """
import importlib.metadata

import parsl
from parsl.app.errors import AppTimeout
from parsl.config import Config
from parsl.executors import HighThroughputExecutor


@parsl.python_app
def who(kind):
    import parsl
    return parsl.__name__, kind is parsl.app.errors.AppTimeout


def main():
    with parsl.load(Config(executors=[HighThroughputExecutor(max_workers_per_node=1)])):
        print(*who(AppTimeout).result(), importlib.metadata.version("parsl"))
"""
MODULES = "import sys; print(sorted(sys.modules))"
WHO = "import parsl; print(parsl.__name__)"


def build(source: Path, wheels: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)


def project(directory: Path, package: str, text: str, **fields: object) -> Path:
    (directory / package).mkdir(parents=True)
    (directory / package / "__init__.py").write_text(text)
    (directory / "pyproject.toml").write_text(PROJECT.format(package=package, **fields))
    return directory


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("wheels")
    sources = tmp_path_factory.mktemp("sources")
    build(ROOT / "trellis-as-parsl", made)
    pins = ["parsl>=2025.1", "parsl==2025.1.13", "parsl<2026"]
    build(project(sources / "d", "dependant", DEPENDANT, name="dependant", version="1", dependencies=pins), made)
    build(project(sources / "p", "parsl", "real = True", name="parsl", version="2026.1.5", dependencies=[]), made)
    return made


class Installation:
    """An environment of its own, in which Trellis and what it needs are installed."""

    def __init__(self, directory: Path, wheels: Path) -> None:
        self._directory, self._wheels = directory, wheels
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "env"], cwd=directory, check=True, timeout=60)
        self.python = str(directory / "env" / "bin" / "python")
        (self.site,) = directory.glob("env/lib/python*/site-packages")
        paths = [str(Path(trellis.__file__).parents[1]), sysconfig.get_path("purelib")]
        (self.site / "development.pth").write_text("\n".join(paths) + "\n")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        variables = environment(PIP_CONFIG_FILE="/dev/null", PIP_DISABLE_PIP_VERSION_CHECK="1")
        variables.pop("PYTHONPATH", None)
        return subprocess.run(
            words, cwd=self._directory, env=variables, capture_output=True, text=True, timeout=100, check=False
        )

    def ask(self, code: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.python, "-c", code)

    def pip(self, *words: str) -> str:
        done = self.run(sys.executable, "-m", "pip", "--python", self.python, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def install(self, *names: str) -> str:
        return self.pip("install", "--no-index", "--find-links", str(self._wheels), *names)

    def installed(self) -> list[str]:
        return sorted(path.name for path in self.site.iterdir() if path.name != "__pycache__")


@pytest.fixture
def env(tmp_path: Path, wheels: Path) -> Installation:
    return Installation(tmp_path, wheels)


def test_what_requires_parsl_is_content_and_runs(env: Installation) -> None:
    before, modules = env.installed(), env.ask(MODULES).stdout
    assert "'site'" in modules
    env.install("trellis-as-parsl")
    assert env.ask(MODULES).stdout == modules, "nothing is imported when an interpreter starts"
    assert "Successfully installed dependant-1\n" in env.install("dependant")
    assert "already satisfied: parsl" in env.install("parsl>=2024")
    assert "No broken requirements" in env.pip("check")
    done = env.run(str(Path(env.python).with_name("dependant-script")))
    assert (done.returncode, done.stdout) == (0, "trellis True 2025.1.13\n"), done.stderr
    assert done.stderr.startswith(SAYS)
    assert done.stderr.count("\n") == 1
    env.pip("uninstall", "-y", "dependant", "trellis-as-parsl")
    assert env.installed() == before


def test_launch_commands_find_the_programs_of_parsl(env: Installation) -> None:
    env.install("trellis-as-parsl")
    scripts = [Path(env.python).with_name(name) for name in ("process_worker_pool.py", "interchange.py")]
    done = env.run(str(scripts[0]), "--help")
    assert (done.returncode, done.stdout.partition(" [")[0]) == (0, "usage: process_worker_pool.py"), done.stderr
    done = env.run("sh", "-c", f"{scripts[1]} < /dev/null")
    assert "no settings came" in done.stderr
    env.pip("uninstall", "-y", "trellis-as-parsl")
    assert not any(script.exists() for script in scripts)


def test_trellis_alone_is_not_parsl(env: Installation) -> None:
    found = env.ask("import trellis, importlib.util as u; print(u.find_spec('parsl'))")
    assert "trellis" not in found.stdout
    assert found.returncode == 0


def test_children_and_threads_have_it(env: Installation) -> None:
    env.install("trellis-as-parsl")
    code = f"""if True:
        import subprocess, sys, threading
        start, seen = threading.Barrier(8), []
        def load():
            start.wait()
            import parsl
            seen.append(parsl.python_app.__module__)
        threads = [threading.Thread(target=load) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        subprocess.run([sys.executable, "-c", {WHO!r}], check=True)
        print(set(seen), len(seen))
    """
    done = env.ask(code)
    assert done.stdout == "trellis\n{'trellis.apps'} 8\n"
    assert done.stderr.count("\n") == 1


def with_parsl_first(env: Installation) -> None:
    env.install("parsl==2026.1.5")
    env.install("trellis-as-parsl")


def with_parsl_last(env: Installation) -> None:
    env.install("trellis-as-parsl")
    assert "Uninstalling parsl-2025.1.13" in env.install("parsl==2026.1.5")


@pytest.mark.parametrize("order", [with_parsl_first, with_parsl_last])
def test_both_in_one_environment_are_refused(env: Installation, order: Callable[[Installation], None]) -> None:
    order(env)
    done = env.ask(WHO)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"ImportError: both Parsl (parsl, parsl-2026.1.5.dist-info) and trellis-as-parsl are installed in {env.site}, "
    )
    # Who says which of them is meant is not refused.
    assert env.run(env.python, "-m", "trellis", "run", "-m", "trellis.version").returncode == 0
    assert env.ask(f"import trellis.as_parsl; {WHO}").stdout == "trellis\n"
    # The way out that the error names, for either.
    while "Successfully uninstalled" in env.pip("uninstall", "-y", "parsl", "trellis-as-parsl"):
        pass
    wanted, code, answer = {
        with_parsl_first: ("trellis-as-parsl", WHO, "trellis\n"),
        with_parsl_last: ("parsl==2026.1.5", "import parsl; print(parsl.real)", "True\n"),
    }[order]
    env.install(wanted)
    assert env.ask(code).stdout == answer
    assert "No broken requirements" in env.pip("check")


def test_what_stands_before_it_on_the_path_is_the_programs_own(env: Installation, tmp_path: Path) -> None:
    env.install("trellis-as-parsl")
    (tmp_path / "parsl.py").write_text(REAL)
    assert "the real Parsl" in env.ask(WHO).stderr


def test_an_editable_installation_has_all_of_it(wheels: Path, tmp_path: Path) -> None:
    code = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=ROOT / "trellis-as-parsl", check=True, capture_output=True, timeout=60)
    (editable,), (whole,) = tmp_path.iterdir(), wheels.glob("trellis_as_parsl-*.whl")
    with zipfile.ZipFile(editable) as found, zipfile.ZipFile(whole) as wanted:
        assert {*wanted.namelist()} <= {*found.namelist()}
