"""What tells of a run while it goes on: to people who ask, on the console, and to who records it."""
