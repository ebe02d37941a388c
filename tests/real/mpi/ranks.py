"""One rank of an MPI program: ``python ranks.py mpich|openmpi DIRECTORY SECONDS``. Leaves a file of what it found.

Speaks to the MPI library directly, so that neither a compiler nor another package is needed.
"""

import ctypes
import json
import os
import sys
import time


def load(kind):
    """The library, and its ``MPI_COMM_WORLD``."""
    if kind == "mpich":
        return ctypes.CDLL("libmpich.so.12"), ctypes.c_int(0x44000000)
    library = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
    return library, ctypes.byref(ctypes.c_char.in_dll(library, "ompi_mpi_comm_world"))


def node():
    # Hydra gives its ranks the environment of mpiexec; that of their parent, its proxy, is the node's own.
    with open(f"/proc/{os.getppid()}/environ") as file:
        parent = dict(entry.partition("=")[::2] for entry in file.read().split("\0"))
    return parent.get("SLURMD_NODENAME") or os.environ["SLURMD_NODENAME"]


def main(kind, directory, seconds):
    begin = time.time()
    library, world = load(kind)
    library.MPI_Init(None, None)
    rank, size = ctypes.c_int(), ctypes.c_int()
    library.MPI_Comm_rank(world, ctypes.byref(rank))
    library.MPI_Comm_size(world, ctypes.byref(size))
    time.sleep(float(seconds))
    library.MPI_Barrier(world)  # all ranks are there, and hear each other
    found = {"rank": rank.value, "size": size.value, "node": node(), "begin": begin, "end": time.time()}
    with open(os.path.join(directory, str(rank.value)), "w") as file:
        json.dump(found, file)
    library.MPI_Finalize()


main(*sys.argv[1:])
