"""The manager: one process on each node, which starts the workers there and hands tasks to them."""
