# SPDX-License-Identifier: Apache-2.0
"""The evidence behind a row of the clobber matrix: contract, code, and one exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hilagent.journal import Run
from hilagent.probe import esr, names
from hilagent.report.results import tables

from .view import Proof, Row

_SUITES = frozenset({"dispatch", "clobber", "direct"})
"""Whose findings are of the vectors under test."""


def row(
    run: Run, record: Mapping[str, Any], row: Mapping[str, Any], registers: Sequence[str],
    number: int,
) -> Row:  # fmt: skip
    """Return one hcall of a matrix with what is known of each register.

    Args:
        record: of the matrix.
        row: of the hcall in it.
        number: of the row on the page.
    """
    hcall = str(row["hcall"])
    found = exchange(run, record, hcall)
    code = _code(run, record, hcall)
    breaches = _breaches(run, record, hcall)
    proofs = []
    for name, cell in zip(registers, row["cells"], strict=False):
        before, after = _values(name, found)
        proofs.append(
            Proof(
                id=f"e{number}-{name}",
                register=name,
                cell=str(cell),
                contract=_of(code.get("contract"), name, "may change", "keeps its value"),
                static=_of(code.get("code"), name, "can change it", "can't change it"),
                before=before,
                after=after,
                said=[text for what, text in breaches if _column(what) == name and cell in "XL"],
            )
        )
    value = int((found or {}).get("after", {}).get("esr", 0))
    return Row(hcall, proofs, _call(found), _esr(value) if value else [])


def _call(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    where = f" on CPU {found['cpu']}" if "cpu" in found else ", with VBAR_EL2 the table itself"
    return f"hvc #{found['before']['imm']:#x}{where}"


def _esr(value: int) -> list[tuple[str, str]]:
    """Return an ESR_EL2 field by field."""
    decoded = esr.decode(value)
    return [
        ("ESR_EL2", f"{value:#x}"),
        ("EC", f"{decoded.ec:#04x}, {decoded.name}"),
        ("IL", str(decoded.il)),
        ("ISS", f"{decoded.iss:#x}"),
        *decoded.fields.items(),
    ]


def _of(listed: Sequence[str] | None, name: str, there: str, missing: str) -> str:
    if listed is None:
        return "?"
    if any(_column(each) == name for each in listed):
        return there
    return missing


def _column(register: str) -> str:
    """Return the column of the matrix that a register stands in."""
    if register[:1] in "vz" and register[1:].isdigit():
        return "v"
    if register in {"SP", "SP_EL2", "NZCV", "DAIF"} or register[:1] == "x":
        return "SP" if register == "SP_EL2" else register
    if register == "SP_EL0":
        return "SP0"
    return "EL2" if register.endswith("_EL2") else "EL1"


def _values(name: str, found: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return what a register held before and after; of several, those that changed."""
    if found is None:
        return "", ""
    before, after = found["before"], found["after"]
    if name[:1] == "x" and name[1:].isdigit():
        pair = before["x"][int(name[1:])], after["x"][int(name[1:])]
        return f"{pair[0]:#018x}", f"{pair[1]:#018x}"
    if name == "SP":
        return f"{before['sp']:#018x}", f"{after['sp']:#018x}"
    if name in {"NZCV", "DAIF"}:
        mask = 0xF000_0000 if name == "NZCV" else 0x3C0
        return f"{before['pstate'] & mask:#x}", f"{after['pstate'] & mask:#x}"
    if name == "v":
        pairs = list(zip(before.get("v", []), after.get("v", []), strict=False))
        changed = [(f"v{n}", a, b) for n, (a, b) in enumerate(pairs) if a != b]
    else:
        both = [(each, before["sys"].get(each), after["sys"].get(each)) for each in after["sys"]]
        changed = [(each, a, b) for each, a, b in both if a != b and _column(each) == name]
    if not changed:
        return "", ""
    return (
        ", ".join(f"{each} {_hex(a)}" for each, a, _ in changed[:4]),
        ", ".join(f"{each} {_hex(b)}" for each, _, b in changed[:4]),
    )


def _hex(value: object) -> str:
    return f"{value:#x}" if isinstance(value, int) else str(value)


def exchange(run: Run, record: Mapping[str, Any], hcall: str) -> Mapping[str, Any] | None:
    """Return what went in and what came home of one call: first of one that went wrong."""
    subject, origins = record.get("subject"), _origins(record)
    for each in run.observations("sweep"):
        swept = each.get("swept", {})
        if each.get("subject") != subject or names.origin(swept["origin"]) not in origins:
            continue
        for pair in swept.get("frames", {}).values():
            if _named(run, record, pair["before"]) == hcall:
                return {**pair, "cpu": swept["cpu"]}
    for each in run.observations("direct"):
        if each.get("subject") == subject and each.get("hcall") == hcall and each.get("done"):
            return dict(each["done"])
    return None


def _origins(record: Mapping[str, Any]) -> set[str]:
    """Return where the calls of a table came from: vectors may serve several."""
    return set(str(record.get("origin")).split(", "))


def _named(run: Run, record: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Return which hcall was issued, by the dispatch map of the same subject."""
    for each in tables(run, "dispatch"):
        if each.get("subject") == record["subject"] and _origins(each) & _origins(record):
            number = before["x"][0] if each.get("selector") == "x0" else before["imm"]
            for first, last, hcall, *_ in each.get("ranges", []):
                if first <= number and (number <= last or last < 0):
                    return str(hcall)
    return ""


def _code(run: Run, record: Mapping[str, Any], hcall: str) -> Mapping[str, Any]:
    """Return what contract and code say of an hcall's registers."""
    rows = [
        row
        for each in tables(run, "code")
        if each.get("subject") == record.get("subject")
        for row in each.get("rows", [])
        if row.get("hcall") == hcall
    ]
    return rows[0] if rows else {}


def _breaches(run: Run, record: Mapping[str, Any], hcall: str) -> list[tuple[str, str]]:
    """Return (register, text) of each finding on this hcall of this server's table.

    A test is called ``SUITE[SERVER-HCALL-RULE]``; of a live kernel's nothing belongs here.
    """
    out = []
    for outcome in run.all_outcomes():
        suite, _, case = outcome.test.partition("[")
        if suite in _SUITES and case.startswith(f"{record.get('server')}-"):
            out += [(each.what, text) for each, text in _texts(outcome.findings, hcall)]
    return list(dict.fromkeys(out))


def _texts(findings: Sequence[Any], hcall: str) -> Iterator[tuple[Any, str]]:
    for each in findings:
        if each.hcall == hcall:
            said = f"{each.rule}: expected {each.expected}, found {each.found}"
            yield each, said + (f" ({each.evidence})" if each.evidence else "")
