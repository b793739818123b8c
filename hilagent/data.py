# SPDX-License-Identifier: Apache-2.0
"""Where the files that aren't Python are, in a checkout and in an installed wheel.

A checkout holds `boards/` and `firmware/` beside the package; a wheel carries the same
folders in `hilagent/_data/`, and `prebuilt/`, what was built of them. Nobody else builds
such a path.
"""

from pathlib import Path

from hilagent.errors import HostError

REPAIR = "install hilagent again: pip install --force-reinstall hilagent-VERSION.whl"
"""What helps an installation that lacks a file, or has another."""
_PACKAGE = Path(__file__).resolve().parent
_DATA = _PACKAGE / "_data"


def checkout() -> Path | None:
    """The checkout that this package is imported from; None for an installed wheel."""
    top = _PACKAGE.parent
    return top if (top / "pyproject.toml").is_file() and not _DATA.is_dir() else None


def data_dir(name: str) -> Path:
    """The folder `name` ("boards", "firmware") of the checkout, else of the wheel.

    Raises HostError if it isn't there: the installation is broken.
    """
    folder = (checkout() or _DATA) / name
    if not folder.is_dir():
        raise HostError(f"{folder}: missing from this installation of hilagent", hint=REPAIR)
    return folder


def home() -> Path:
    """This user's home directory.

    Raises HostError if there is none: neither ``$HOME`` nor this user among the host's.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise HostError(
            "this user has no home directory",
            hint="set HOME, HILAGENT_CACHE (what is built) and HILAGENT_STATE (who uses a board)",
        ) from error
