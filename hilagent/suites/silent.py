# SPDX-License-Identifier: Apache-2.0
"""A kernel that never got ready: are its own hyp-stub's vectors to blame?

A kernel that its hyp-stub hurts dies before its first line (x18 under the shadow call
stack), and can't be asked anything. But its table can be cut out of its image and run
in the payload, without that kernel, by the rules that every table is held to.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.link import wire
from hilagent.result import Finding
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.subject import Subject
from hilagent.suites import kernels, observe

if TYPE_CHECKING:
    from hilagent.build.kernel import Kernel
    from hilagent.session.linux import Boot

VECTORS, END, START = "__hyp_stub_vectors", "__hyp_text_end", "_text"
_TABLE = 0x800
_MOST = 0x10000


def explained(
    session: Session, settings: Settings, boot: Boot, silence: errors.TargetHang
) -> errors.TargetHang:
    """Return ``silence`` with what the kernel's own hyp-stub does in the payload, if that is wrong.

    Nothing of the kernel runs for it but that table. Where it can't be cut out, or is
    sound, the silence stays what it is.
    """
    from hilagent.build.kernel import cached
    from hilagent.session.built import fragments

    kernel = cached(boot.kernel, fragments(settings.board))
    subject = stub_of(kernel) if kernel is not None else None
    profile = kernels.declared(kernel) if kernel is not None else None
    if subject is None or profile is None or profile.selector != "immediate":
        return silence
    subject = dataclasses.replace(subject, serves_el2=profile.serves_el2(subject.server))
    try:
        judged = observe.vectors(
            session, dataclasses.replace(settings, profile=profile), subject, most_cpus=1
        )
    except errors.WorldError as exc:
        session.journal.note(f"its hyp-stub could not be run in the payload: {exc.message}")
        return silence
    if judged.judgement is None or not judged.judgement.findings:
        return silence
    found = tuple(_named(each, boot) for each in judged.judgement.findings)
    return _with(silence, boot, found)


def stub_of(kernel: Kernel) -> Subject | None:
    """Return a kernel's own hyp-stub table, cut out of its image; None where that can't be."""
    if kernel.vmlinux is None or not kernel.vmlinux.exists():
        return None
    places = symbols(kernel.vmlinux, (VECTORS, END, START))
    if len(places) < 3:
        return None
    at, end = places[VECTORS] - places[START], places[END] - places[START]
    blob = kernel.image.read_bytes()[at : min(end, at + _MOST)]
    if at % _TABLE or len(blob) < _TABLE:
        return None
    return Subject(f"hyp-stub of {kernel.name}", "hyp-stub", wire.Target.SLOT, blob)


def symbols(elf: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Return the addresses of those of ``names`` that an ELF file defines."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    with elf.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            return {}
        found = {name: table.get_symbol_by_name(name) for name in names}
        return {name: int(each[0]["st_value"]) for name, each in found.items() if each}


def _named(finding: Finding, boot: Boot) -> Finding:
    evidence = f"served by hyp-stub; the table of {boot.kernel}, run in the payload"
    more = f"; {finding.evidence}" if finding.evidence else ""
    return dataclasses.replace(finding, evidence=evidence + more)


def _with(silence: errors.TargetHang, boot: Boot, found: tuple[Finding, ...]) -> errors.TargetHang:
    first = found[0]
    out = type(silence)(
        f"hyp-stub: {boot} never got ready, and its own hyp-stub, run in the payload, breaks "
        f"{first.rule}: {first.hcall} {first.what}: expected {first.expected}, found {first.found}",
        hint=silence.hint,
    )
    out.findings = found  # type: ignore[attr-defined]
    out.details = silence.message  # type: ignore[attr-defined]
    return out
