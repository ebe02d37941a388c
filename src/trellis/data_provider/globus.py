"""Stand-ins for Parsl's staging over Globus."""

from trellis.core.missing import Missing, missing_function

_INSTEAD = "stage over a shared file system, HTTP, FTP or rsync"


class GlobusStaging(Missing, was="moves files of the scheme globus: between endpoints of Globus", instead=_INSTEAD): ...


class Globus(Missing, was="holds a login at Globus and asks for transfers", instead=_INSTEAD): ...


get_globus = missing_function("get_globus", __name__, was="logs in at Globus", instead=_INSTEAD)
cli_run = missing_function("cli_run", __name__, was="is the command parsl-globus-auth", instead=_INSTEAD)

__all__ = ["Globus", "GlobusStaging", "cli_run", "get_globus"]
