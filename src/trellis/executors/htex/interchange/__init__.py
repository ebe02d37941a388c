"""The interchange: one process beside the program, between it and the managers of all nodes."""
