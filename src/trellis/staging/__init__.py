"""Bringing files to tasks and away from them. Nothing is imported here: a task on a worker loads only what it needs."""
