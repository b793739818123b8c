# SPDX-License-Identifier: Apache-2.0
"""Files to and from a board that has an SSH server and hardly anything else.

dropbear brings no SFTP server, so a file goes through ``cat``, or compressed
through ``gzip`` where the board has that and it is worth it: an emulated or small
board spends its time on the cipher. It is written beside its place, hashed by the
board, and moved into place only if the hash is right: nobody ever sees half a file.
An end that the board has already, in another file, is not sent again.
"""

from __future__ import annotations

import hashlib
import posixpath
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent.clock import Deadline
from hilagent.errors import AgentBug, LabError, LinkError
from hilagent.text import scrub_line
from hilagent.transport.ssh_channel import Done, Progress

if TYPE_CHECKING:
    from hilagent.transport.ssh_connection import Connection

_HASH = 'command -v gzip >/dev/null && echo gzip; for f; do sha256sum <"$f" || echo; done'
_PUT = """\
export LC_ALL=C
part="$1.part"
if mkdir -p -- "$2" && { $5 && cat <"${6:-/dev/null}"; } >"$part" &&
    got=$(sha256sum <"$part"); then
    if [ "${got%% *}" != "$3" ]; then rm -f -- "$part"; exit 9; fi
    chmod "$4" "$part" && mv -f -- "$part" "$1" && exit 0
fi
rm -f -- "$part"
exit 1
"""
_DAMAGED = 9
_PACK_LEVEL, _PACK_FROM, _PACK_GAIN = 1, 1 << 16, 0.8
"""As fast as a fast network; from how many bytes on; and to what part, or it goes plain."""
_GET = 'sha256sum <"$1" && cat <"$1"'
_DF = 'df -Pk "$1"'
_GZIP = "gzip"
_HASH_LINE = 64 + len("  -\n")
_FULL = (b"No space left on device", b"Disk quota exceeded")
_DF_S = 5.0


def put(
    connection: Connection,
    data: bytes | Path,
    remote: str,
    deadline: Deadline,
    progress: Progress,
    mode: int,
    tail: tuple[str, int],
) -> bool:
    """Upload, see :meth:`Connection.put`."""
    held, size = tail
    _absolute(remote)
    content = _read(data) if isinstance(data, Path) else data
    digest = hashlib.sha256(content).hexdigest()
    (found, *at_end), unpacks = _look(connection, [remote, *filter(None, [held])], deadline)
    if found == digest:
        return False
    rest = content
    if at_end and at_end[0] == hashlib.sha256(content[len(content) - size :]).hexdigest():
        rest = content[: len(content) - size]
    else:
        held = ""
    what, folder = f"the upload of {remote}", posixpath.dirname(remote)
    packed = _packed(rest) if unpacks else b""
    argv = ["sh", "-c", _PUT, "sh", remote, folder, digest, f"{mode:o}"]
    argv += ["gzip -dc" if packed else "cat", held]
    sent = packed or rest
    done = connection.run(argv, deadline=deadline, stdin=sent, doing=what, progress=progress)
    if done.status == _DAMAGED:
        hint = "the board's memory or file system changes what is written to it"
        raise LinkError(f"{connection.name}: {remote} arrived damaged", hint=hint)
    if done.status:
        raise _failed(connection, done, remote, len(content))
    return True


def get(connection: Connection, remote: str, deadline: Deadline, limit_bytes: int) -> bytes:
    """Download, see :meth:`Connection.get`."""
    _absolute(remote)
    what = f"the download of {remote}"
    argv, limit = ["sh", "-c", _GET, "sh", remote], limit_bytes + _HASH_LINE
    raw = connection.must(argv, deadline=deadline, limit_bytes=limit, doing=what)
    content = raw[_HASH_LINE:]
    if raw[:64] != hashlib.sha256(content).hexdigest().encode():
        hint = "something on the board is writing to it"
        raise LabError(f"{connection.name}: {remote} changed while it was read", hint=hint)
    return content


def _look(
    connection: Connection, paths: Sequence[str], deadline: Deadline
) -> tuple[list[str], bool]:
    """Return the hash of what each path holds now, "" for nothing, and whether it has gzip."""
    what = f"looking at {paths[0]}"
    done = connection.run(["sh", "-c", _HASH, "sh", *paths], deadline=deadline, doing=what)
    lines = done.out.decode("ascii", "replace").splitlines()
    unpacks = lines[:1] == [_GZIP]
    hashes = [line[:64].strip() for line in lines[unpacks:]]
    return (hashes + [""] * len(paths))[: len(paths)], unpacks


def _packed(content: bytes) -> bytes:
    """Return ``content`` as gzip, b"" where that gains little."""
    if len(content) < _PACK_FROM:
        return b""
    packer = zlib.compressobj(_PACK_LEVEL, wbits=zlib.MAX_WBITS | 16)
    packed = packer.compress(content) + packer.flush()
    return packed if len(packed) < len(content) * _PACK_GAIN else b""


def _failed(connection: Connection, done: Done, remote: str, size: int) -> LabError:
    if not any(text in done.err for text in _FULL):
        return connection.failed(f"the upload of {remote}", done)
    wanted = f"{connection.name}: no space for {remote} ({size} bytes)"
    return LabError(
        f"{wanted} on the board's {_filesystem(connection, remote)}",
        hint="free some space on the board; an initramfs takes it from memory",
    )


def _filesystem(connection: Connection, remote: str) -> str:
    """Return what ``remote`` would lie on, with its sizes where the board can tell."""
    folder, deadline = posixpath.dirname(remote), Deadline.after(_DF_S)
    done = connection.run(["sh", "-c", _DF, "sh", folder], deadline=deadline, doing="df")
    fields = done.out.decode("utf-8", "replace").splitlines()[-1:] or [""]
    match fields[0].split(None, 5):
        case [device, blocks, _, free, _, mount] if blocks.isdigit() and free.isdigit():
            where = scrub_line(f"{mount} ({device})")
            return f"{where}: {int(free)} KiB free of {int(blocks)}"
    return f"file system of {folder}"


def _absolute(remote: str) -> None:
    if not remote.startswith("/") or remote.endswith("/"):
        raise AgentBug(f"{remote!r} is no absolute path of a file on a board")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise LabError(f"{path}: can't be read: {exc.strerror}") from exc
