# SPDX-License-Identifier: Apache-2.0
"""What was built when this hilagent was packaged, for hosts that have no compiler.

A wheel has it in ``hilagent/_data/prebuilt``: a folder for each kind and recipe (the
fingerprint of sources and flags), and a manifest with the digest of each file. It is used
only where the recipe is that of the sources that are installed; a checkout has none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hilagent import data
from hilagent.errors import HostError

RECIPE = "recipe"
"""A file beside each result of the cache: what it is packaged under."""
_MANIFEST, _SCHEMA, _MAX_BYTES = "manifest.json", 1, 1 << 20


def find(kind: str, recipe: str) -> Path | None:
    """Return the folder of what was packaged; None if it wasn't, or from other sources.

    Raises HostError if it was, and isn't there as it was packaged.
    """
    if data.checkout() is not None:
        return None
    home = data.data_dir("prebuilt")
    name = f"{kind}/{recipe}"
    listed = _entries(home / _MANIFEST).get(name)
    for file, digest in (listed or {}).items():
        _check(home / name / file, digest)
    return None if listed is None else home / name


def write(home: Path, results: Iterable[Path]) -> None:
    """Copy results of the cache (folders of KIND/KEY) into ``home``, with a manifest.

    Each is copied before the next is asked for.
    """
    entries: dict[str, dict[str, str]] = {}
    for result in results:
        name = f"{result.parent.name}/{(result / RECIPE).read_text()}"
        files = sorted(path for path in result.iterdir() if path.name != RECIPE)
        (home / name).mkdir(parents=True)
        for path in files:
            shutil.copyfile(path, home / name / path.name)
        entries[name] = {path.name: _digest(path) for path in files}
    said = {"schema": _SCHEMA, "entries": entries}
    home.mkdir(exist_ok=True)
    (home / _MANIFEST).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")


def _entries(manifest: Path) -> dict[str, dict[str, str]]:
    try:
        with manifest.open("rb") as stream:
            said: Any = json.loads(stream.read(_MAX_BYTES))
        if said["schema"] != _SCHEMA:
            raise ValueError(f"schema {said['schema']!r}, expected {_SCHEMA}")
        return {str(name): dict(files) for name, files in said["entries"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HostError(
            f"{manifest}: can't be read, so this installation of hilagent is broken: {error}",
            hint=data.REPAIR,
        ) from error


def _check(path: Path, digest: str) -> None:
    try:
        found = _digest(path)
    except OSError as error:
        raise HostError(
            f"{path}: missing from this installation of hilagent ({error.strerror})",
            hint=data.REPAIR,
        ) from error
    if found != digest:
        raise HostError(
            f"{path}: isn't what this hilagent was packaged with: its SHA-256 is"
            f" {found[:16]}..., not {digest[:16]}...",
            hint=data.REPAIR,
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
