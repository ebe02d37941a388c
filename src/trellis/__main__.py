"""``python -m trellis`` does what the command ``trellis`` does."""

from trellis.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
