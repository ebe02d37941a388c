"""Recorded runs with what others have made: a real PostgreSQL, and Parsl's own monitoring."""
