"""The data-flow kernel: tasks, their dependencies, retries and states."""
