"""The submit side: the thread in the user's program that gives tasks to the interchange and gets what came of them."""
