# SPDX-License-Identifier: Apache-2.0
"""``python -m hilagent`` is the command ``hilagent``."""

import sys

from hilagent.cli import main

if __name__ == "__main__":
    sys.exit(main())
