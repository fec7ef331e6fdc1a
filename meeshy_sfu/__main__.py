"""Runs the command line as ``python -m meeshy_sfu``. Leaves everything to cli/."""

import sys

from meeshy_sfu.cli import main

if __name__ == "__main__":
    sys.exit(main())
