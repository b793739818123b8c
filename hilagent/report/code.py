# SPDX-License-Identifier: Apache-2.0
"""What an audit says, for a terminal and for a machine."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hilagent.abi import UNKNOWN
from hilagent.audit.handlers import Served, name_of
from hilagent.audit.judge import Broken
from hilagent.audit.kernel import Audit, Server
from hilagent.audit.live import Live
from hilagent.audit.sites import Site
from hilagent.text import scrub_line

WIDTH = 80
SCHEMA = 1
LEGEND = (
    ". kept  c can change, allowed  = prescribed  X can change, forbidden\n"
    "  m comes out of memory or of a C function, which may have kept it"
)
_KINDS = {"hcall": "hcalls", "kvm": "calls of KVM's own", "smccc": "SMCCC", "xen": "Xen",
          "unknown": "unknown"}  # fmt: skip
_MOST = 5
_FEW = 12
"""So many sites are shown whatever they are."""
_OTHERS = ("v", "SP", "EL2", "other")


def text(done: Audit, name: str) -> str:
    """Return the audit of ``name`` as 80 columns of text: verdict, findings, evidence."""
    parts = [_head(done, name), *_findings(done), *_evidence(done), _sites(done)]
    parts += _callers(done)
    for server in done.servers:
        parts.append(_matrix(server))
        parts += _endings(done, server)
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(done: Audit, name: str) -> str:
    word = _verdict(done) or "----"
    lines = [f"{word}  {scrub_line(name, limit=70)}"]
    if done.profile is None:
        return f"{lines[0]}\n      no vectors in it, and no ABI to hold it against (--abi)"
    if not done.servers:
        lines += _wrap(f"no vectors in it; its hcalls by {done.profile.name}", 6)
    else:
        served = ", ".join(server.name for server in done.servers)
        found = _count(len(done.findings), "breach", "breaches") if done.findings else "no breach"
        lines += _wrap(f"{found} of {done.profile.name} in the code of {served}", 6)
    open_ = sum(found.state == "may be live" for _, found in _asked(done))
    if open_:
        lines += _wrap(f"{open_} of {len(_asked(done))} registers may be live behind an hcall", 6)
    maybe = sum(not each.proven for server in done.servers for each in server.broken)
    if maybe:
        lines += _wrap(f"{maybe} more if a boot writes over the code, see --json", 6)
    lost = sum(bool(each.unproven) for server in done.servers for each in server.served)
    if lost:
        lines += _wrap(f"{lost} handlers could not be followed to their end, see below", 6)
    return "\n".join(lines)


def _verdict(done: Audit) -> str | None:
    if done.findings or done.relied_on:
        return "FAIL"
    if done.unfinished:
        return "UNFINISHED"
    return "PASS" if done.servers else None


def _findings(done: Audit) -> Iterator[str]:
    if not done.findings and not done.relied_on:
        return
    lines = ["Accused"]
    for site, register, found in done.relied_on:
        lines += [f"  caller  {site.hcall}, at {site.place}"]
        at = f" at {name_of(done.elf, found.at)}" if found.at is not None else ""
        lines += _wrap(f"{register} is given away by the contract, and read: {found.why}{at}", 4)
    for each in done.findings:
        lines += [f"  {each.rule}  {each.hcall} by {each.server}, at {name_of(done.elf, each.at)}"]
        number = f" (number {each.number:#x})" if each.hcall == UNKNOWN else ""
        lines += _wrap(f"{each.what}: expected {each.expected}, found {each.found}{number}", 4)
        if each.forks:
            where = ", ".join(name_of(done.elf, at) for at in each.forks[:_MOST])
            lines += _wrap(f"where the CPU goes that way at {where}", 4)
    yield "\n".join(lines)


def _evidence(done: Audit) -> Iterator[str]:
    lines = [line for each in done.evidence for line in _wrap(scrub_line(each, limit=400), 2)]
    if lines:
        yield "\n".join(["Speaks", *lines])


def _sites(done: Audit) -> str:
    kinds: Counter[str] = Counter(site.kind for site in done.sites)
    said = ", ".join(f"{kinds[kind]} {_KINDS[kind]}" for kind in _KINDS if kinds[kind])
    lines = [f"Sites     {len(done.sites)}{': ' if said else ''}{said}"]
    few = len(done.sites) <= _FEW
    for site in done.sites:
        if few or site.kind in ("hcall", "unknown"):
            lines.append(f"  {_site(site)}"[:WIDTH].rstrip())
    for each in done.unaccounted[:_MOST]:
        lines += _wrap(
            f"at {name_of(done.elf, each.original)}: {', '.join(each.callback)} may write an hvc"
            " at boot; it isn't known here", 2,
        )  # fmt: skip
    if len(done.unaccounted) > _MOST:
        lines.append(f"  and {len(done.unaccounted) - _MOST} more such places, see --json")
    return "\n".join(lines)


def _site(site: Site) -> str:
    name = site.hcall or site.kind
    where = scrub_line(site.place, limit=40)
    return f"{site.issues} #{site.immediate:#x}  {name:<18} {where}  {scrub_line(site.source)}"


def _asked(done: Audit) -> list[tuple[str, Live]]:
    return [each for caller in done.callers for each in caller.registers.items()]


def _callers(done: Audit) -> Iterator[str]:
    """Yield what is done with the registers that hcalls give away; SOFT_RESTART never returns."""
    if not done.callers:
        return
    lines = ["Behind it  is what an hcall may change read before it is written?"]
    for caller in done.callers:
        said = ", ".join(f"{name} {found.state}" for name, found in caller.registers.items())
        lines += _wrap(f"{caller.site.place}: {said or 'nothing is given away'}", 2)
        for name, found in caller.registers.items():
            if found.state == "may be live":
                lines += _wrap(f"{name}: {found.why}", 6)
    yield "\n".join(lines)


def _matrix(server: Server) -> str:
    lines = [
        f"Can change  {server.name} (vectors at {server.symbol})",
        f"  {'':<17} {'x0        x10       x20       x30':<33} {' '.join(_OTHERS)}",
    ]
    unknown = [each for each in server.served if each.contract.hcall == UNKNOWN]
    for each in server.served:
        if each.contract.hcall != UNKNOWN:
            lines.append(_row([each], server.broken))
    if unknown:
        lines.append(_row(unknown, server.broken))
    return "\n".join([*lines, f"  {LEGEND}"])


def _row(served: list[Served], broken: tuple[Broken, ...]) -> str:
    hcall = served[0].contract.hcall
    wrong = {each.what for each in broken if each.hcall == hcall and each.proven}
    cells: dict[str, str] = {}
    for each in served:
        for register, write in each.writes.items():
            cell = "c" if write.sure else "m"
            if register == "x0" and each.contract.result.kind not in ("unchanged", "any"):
                cell = "="
            column = _column(register)
            if _RANK.index(cell) > _RANK.index(cells.get(column, ".")):
                cells[column] = cell
    for register in wrong:
        cells[_column(register)] = "X"
    first = "".join(cells.get(f"x{n}", ".") for n in range(31))
    rest = " ".join(f"{cells.get(name, '.'):<{len(name)}}" for name in _OTHERS)
    return f"  {hcall[:17]:<17} {first:<33} {rest}".rstrip()


_RANK = ".m=cX"


def _column(register: str) -> str:
    if register[0] == "x" and register[1:].isdigit():
        return register
    if register[0] == "v" and register[1:].isdigit():
        return "v"
    if register == "SP_EL2":
        return "SP"
    return "EL2" if register.endswith("_EL2") else "other"


def _endings(done: Audit, server: Server) -> Iterator[str]:
    """Yield what could not be followed: nothing is claimed of it."""
    lines = []
    for each in server.served:
        for why in each.unproven[:_MOST]:
            lines += _wrap(f"{each.contract.hcall}: {why}", 4)
    if lines:
        yield "\n".join([f"  not followed, by {server.name}", *dict.fromkeys(lines)])


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _wrap(said: str, indent: int) -> list[str]:
    return textwrap.wrap(
        said, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2),
        break_on_hyphens=False,
    )  # fmt: skip


def document(done: Audit) -> dict[str, Any]:
    """Return the audit for a machine; addresses are numbers of the file's own."""
    return {
        "schema": SCHEMA,
        "file": str(done.elf.path),
        "abi": done.profile.name if done.profile else None,
        "evidence": list(done.evidence),
        "verdict": _verdict(done),
        "findings": [_broken(done, each) for each in done.findings],
        "sites": [_site_document(site) for site in done.sites],
        "servers": [_server(done, server) for server in done.servers],
        "callers": [
            {
                "place": caller.site.place,
                "hcall": caller.site.hcall,
                "registers": {
                    name: {"state": f.state, "address": f.at, "why": f.why, "path": list(f.path)}
                    for name, f in caller.registers.items()
                },
            }
            for caller in done.callers
        ],
        "unaccounted": [
            {"address": each.original, "callback": list(each.callback)}
            for each in done.unaccounted
        ],
    }  # fmt: skip


def _broken(done: Audit, each: Broken) -> dict[str, Any]:
    return {
        "rule": each.rule, "server": each.server, "hcall": each.hcall, "number": each.number,
        "what": each.what, "expected": each.expected, "found": each.found,
        "address": each.at, "place": name_of(done.elf, each.at),
        "forks": list(each.forks), "patched": list(each.patched),
    }  # fmt: skip


def _site_document(site: Site) -> dict[str, Any]:
    return {
        "address": site.address, "runs_at": site.runs_at, "issues": site.issues,
        "immediate": site.immediate, "place": site.place, "unit": site.unit,
        "source": site.source, "kind": site.kind, "number": site.number, "hcall": site.hcall,
        "evidence": site.evidence, "patched": site.patched,
    }  # fmt: skip


def _server(done: Audit, server: Server) -> dict[str, Any]:
    return {
        "name": server.name,
        "vectors": server.table,
        "entries": [
            {"offset": each.offset, "writes": list(each.writes), "endings": list(each.endings)}
            for each in server.entries
        ],
        "hcalls": [
            {
                "hcall": each.contract.hcall, "number": each.number,
                "results": list(each.results), "stack": each.needs_stack,
                "unproven": list(each.unproven),
                "writes": {
                    register: {"value": write.value, "address": write.at, "sure": write.sure}
                    for register, write in each.writes.items()
                },
            }
            for each in server.served
        ],
        "only_if_patched": [_broken(done, each) for each in server.broken if not each.proven],
    }  # fmt: skip
