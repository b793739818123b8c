# SPDX-License-Identifier: Apache-2.0
"""``hilagent audit``: what a kernel's code says of its hcalls, without a board."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager

from hilagent import abi
from hilagent.audit.kernel import Audit
from hilagent.audit.kernel import audit as look_at
from hilagent.build import payload, vectors
from hilagent.build.progress import Progress
from hilagent.build.vmlinux import debian_vmlinux
from hilagent.cli.build import shown
from hilagent.elf.mapped import named
from hilagent.report import code
from hilagent.result import EXIT_OK, RENDERINGS, Verdict

_DEBIAN, _PAYLOAD = "debian", "payload"


def audit(name: str, profile: str, *, as_json: bool) -> int:
    """Audit a vmlinux, a module, vectors of ours or Debian's kernel; return the exit code.

    Raises UsageError and InputError for what can't be audited, LabError for what can't be
    fetched.
    """
    with shown() as progress, _uncollected():
        done = _audit(name, profile, progress)
    if as_json:
        print(json.dumps(code.document(done), indent=1))
    else:
        print(code.text(done, name), end="")
    if done.findings or done.relied_on:
        return RENDERINGS[Verdict.FAIL].exit_code
    return RENDERINGS[Verdict.UNFINISHED].exit_code if done.unfinished else EXIT_OK


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


def _audit(name: str, profile: str, progress: Progress) -> Audit:
    def said(what: str) -> None:
        progress(0, 0, what)

    if name in vectors.REFERENCES or name.startswith("mutant:"):
        chosen = abi.load(profile) if profile else None
        built = vectors.build(name, chosen)
        return look_at(built.elf, profile=built.profile, server=built.server, progress=said)
    path, system_map = named(name)
    if name == _PAYLOAD and not path.exists():
        elf = payload.build_payload().elf
        return look_at(elf, profile=profile or vectors.BUILTIN_ABI, progress=said)
    if name == _DEBIAN and not path.exists():
        path = debian_vmlinux(progress=progress)
    return look_at(path, system_map=system_map, profile=profile, progress=said)
