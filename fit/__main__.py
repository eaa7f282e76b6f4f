"""`python -m fit`."""

import sys

from fit.cli import main

if __name__ == "__main__":
    sys.exit(main())
