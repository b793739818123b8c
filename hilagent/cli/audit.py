# SPDX-License-Identifier: Apache-2.0
"""``hilagent audit``: what a kernel's code says of its hcalls, without a board."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hilagent import abi
from hilagent.audit.kernel import Audit
from hilagent.audit.kernel import audit as look_at
from hilagent.build import vectors
from hilagent.cli.build import shown
from hilagent.elf.mapped import named
from hilagent.report import code
from hilagent.result import EXIT_OK, RENDERINGS, Verdict


def audit(name: str, profile: str, *, as_json: bool) -> int:
    """Audit a vmlinux, a module or vectors of ours; return the exit code.

    Raises UsageError and InputError for what can't be audited.
    """
    with shown() as progress, _uncollected():
        done = _audit(name, profile, lambda what: progress(0, 0, what))
    if as_json:
        print(json.dumps(code.document(done), indent=1))
    else:
        print(code.text(done, name), end="")
    return RENDERINGS[Verdict.FAIL].exit_code if done.findings or done.relied_on else EXIT_OK


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave out the search for garbage in cycles: an audit makes none, only much to search."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _audit(name: str, profile: str, progress: Callable[[str], None]) -> Audit:
    if name in vectors.REFERENCES or name.startswith("mutant:"):
        chosen = abi.load(profile) if profile else None
        built = vectors.build(name, chosen)
        return look_at(built.elf, profile=built.profile, server=built.server, progress=progress)
    path, system_map = named(name)
    return look_at(path, system_map=system_map, profile=profile, progress=progress)
