"""Found by ``import parsl`` where trellis-as-parsl is installed: puts Trellis in its own place."""

import os
import sys

_site = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OURS = "parsl-2025.1.13.egg-info"
_theirs = sorted(
    name
    for name in os.listdir(_site)
    if name == "parsl" or (name.startswith("parsl-") and name.endswith((".dist-info", ".egg-info")) and name != _OURS)
)
if _theirs:
    raise ImportError(
        f"both Parsl ({', '.join(_theirs)}) and trellis-as-parsl are installed in {_site}, and `import parsl` can mean "
        "one of them only, and some commands of theirs have the same names: say `pip uninstall parsl trellis-as-parsl` "
        "until neither is there, and install the one that you want again",
        name="parsl",
    )


STANDS_FOR_TRELLIS = True


def __getattr__(name):  # for a thread that got hold of this module before it was replaced
    return getattr(sys.modules["trellis"], name)


__import__("trellis.as_parsl")
