"""Finds Parsl's tests as ``parsl.tests``, which Trellis does not have.

In the environment that runs them, each process imports it when it starts: workers too.
"""

import os
import sys
from importlib.machinery import PathFinder


class _Tests:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "parsl.tests":
            return None
        return PathFinder.find_spec(name, [os.path.join(place, "parsl") for place in sys.path])


sys.meta_path.insert(0, _Tests)
