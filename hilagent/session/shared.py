# SPDX-License-Identifier: Apache-2.0
"""The folders that all users of a host share: who holds a board now, and which to leave alone.

========== ======================= ========================== ============================
what       chosen                  of the host                else, of this user alone
========== ======================= ========================== ============================
locks      ``$HILAGENT_STATE``     ``/run/lock/hilagent``     ``$XDG_RUNTIME_DIR/hilagent``,
                                                              ``/tmp/hilagent-<uid>``
quarantine ``$HILAGENT_STATE``     ``/var/lib/hilagent``      ``$XDG_STATE_HOME/hilagent``,
                                                              ``~/.local/state/hilagent``
========== ======================= ========================== ============================

The host's are group-writable, and made by whoever sets the host up; the first is empty
after a reboot, the second is not.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from hilagent import data, errors

CHOSEN = "HILAGENT_STATE"
LOCKS = Path("/run/lock/hilagent")
KEPT = Path("/var/lib/hilagent")
MODE = 0o664
"""Of each file: whoever is in the folder's group may take a lock, or end a quarantine."""


def locks() -> Path:
    """Return the folder of the locks, made if it wasn't there.

    Raises:
        errors.LabError: it can't be made or used, or belongs to somebody else.
    """
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return _folder(LOCKS, Path(runtime) / "hilagent")
    return _folder(LOCKS, Path(tempfile.gettempdir()) / f"hilagent-{os.getuid()}")


def kept() -> Path:
    """Return the folder of what a reboot must not forget; made and raises as `locks`."""
    state = os.environ.get("XDG_STATE_HOME") or data.home() / ".local" / "state"
    return _folder(KEPT, Path(state) / "hilagent")


def _folder(host: Path, own: Path) -> Path:
    chosen = os.environ.get(CHOSEN)
    path = Path(chosen) if chosen else host if host.is_dir() else own
    if path == host and not os.access(path, os.W_OK | os.X_OK):
        hint = f"add this user to the group that owns it, or set ${CHOSEN} to a folder of your own"
        message = f"{path}: this user can't write what others must see: who uses a board"
        raise errors.LabError(message, hint=hint)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise errors.LabError(f"{path}: can't hold the locks: {exc.strerror}") from exc
    if path == own and path.stat().st_uid != os.getuid():
        hint = f"set ${CHOSEN} to a folder of your own"
        raise errors.LabError(f"{path}: belongs to somebody else", hint=hint)
    return path


def opened(path: Path) -> int:
    """Return a descriptor of the file ``path``, made if it wasn't there; no child inherits it.

    Others may write into its folder: whatever isn't a file of one name is refused, so that
    nobody makes this process write into another's file.

    Raises:
        errors.LabError: it can't be opened, or is no such file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = _open_or_make(path, flags)
    except OSError as exc:
        hint = f"its folder is shared: remove it if nobody uses it: rm {path}"
        raise errors.LabError(f"{path}: can't be opened: {exc.strerror}", hint=hint) from exc
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(fd)
        hint = f"somebody put it there; remove it: rm {path}"
        raise errors.LabError(f"{path}: expected a file of one name, found another", hint=hint)
    return fd


def _open_or_make(path: Path, flags: int) -> int:
    """Open; make what isn't there. Never both: proc_sys_fs(5), protected_regular."""
    while True:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        try:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)
        except FileExistsError:
            continue  # somebody else was faster
        os.fchmod(fd, MODE)  # whatever the umask
        return fd
