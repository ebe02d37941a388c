"""Public names for bash apps. The part that runs on workers is ``trellis.app.bash_runner``."""

from trellis.app.bash_runner import BashRunner
from trellis.apps import BashApp

__all__ = ["BashApp", "BashRunner"]
