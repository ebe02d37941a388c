"""What executors whose tasks run in other processes have in common."""
