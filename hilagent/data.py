# SPDX-License-Identifier: Apache-2.0
"""Where the files that aren't Python are, in a checkout and in an installed wheel.

A checkout holds `boards/` and `firmware/` beside the package; a wheel carries
the same folders in `hilagent/_data/`. Nobody else builds such a path.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """The checkout that this package is imported from; None for an installed wheel."""
    top = _PACKAGE.parent
    return top if (top / "pyproject.toml").is_file() else None


def data_dir(name: str) -> Path:
    """The folder `name` ("boards", "firmware") of the checkout, else of the wheel.

    Raises FileNotFoundError if it isn't there: the installation is broken.
    """
    folder = (checkout() or _PACKAGE / "_data") / name
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: missing from this installation of hilagent")
    return folder
