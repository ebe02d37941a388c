"""The pages of recorded runs: made of queries and the sockets of live runs, and served, or put into one file."""
