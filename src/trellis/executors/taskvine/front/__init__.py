"""The submit side of TaskVine: what happens to a call in the user's process, whichever engine runs it."""
