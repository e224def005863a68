"""``python -m geogrid``."""

from geogrid.cli import main

if __name__ == "__main__":
    main()
