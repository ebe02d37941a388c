"""MPIExecutor with real MPIs, on this machine and on the nodes of a real Slurm: run them with ``make test-slurm``."""
