"""Stands for Parsl where its tests run, in workers too: Trellis under Parsl's name, and Parsl's tests below it.

Copied to the tests of a release: the package that they lie in. Imported as a module of the harness it is of no use.
"""

import os
import sys
from importlib.machinery import PathFinder

del sys.modules[__name__]

from trellis.as_parsl.alias import turn_on  # noqa: E402
from trellis.core.alias_path import is_alias_path  # noqa: E402


class _Tests:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [os.path.dirname(__file__)]) if name == "parsl.tests" else None


def _come_first():
    """Have processes started from now on, and workers, find this package, and not the alias alone."""
    sys.path[:] = [path for path in sys.path if not is_alias_path(path)]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path and not is_alias_path(path))


turn_on()
_come_first()
sys.meta_path.insert(0, _Tests)
