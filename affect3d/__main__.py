"""`python -m affect3d` is the command `affect3d`."""

import sys

from affect3d.cli import main

if __name__ == "__main__":
    sys.exit(main())
