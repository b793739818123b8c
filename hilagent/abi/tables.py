# SPDX-License-Identifier: Apache-2.0
"""The contract as a table, hcalls by registers, for the report."""

from __future__ import annotations

from dataclasses import dataclass

from hilagent.abi.contract import Contract, Profile

REGISTERS: tuple[str, ...] = (
    *(f"x{n}" for n in range(31)), "SP", "v0-v31", "NZCV", "DAIF", "SP_EL0", "EL1 registers",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """``rows`` hold as many cells as there are ``columns``; the first is the hcall."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(profile: Profile, server: str, origin: str = "EL1h") -> Table:
    """Return the contract of ``server``; neighbours that agree share a column."""
    contracts = [profile.named(each.hcall, server, origin) for each in profile.hcalls(server)]
    groups: list[tuple[list[str], tuple[str, ...]]] = []
    for register in REGISTERS:
        column = tuple(cell(contract, register) for contract in contracts)
        if groups and groups[-1][1] == column and register[0] == groups[-1][0][0][0] == "x":
            groups[-1][0].append(register)
        else:
            groups.append(([register], column))
    names = (_label(registers) for registers, _ in groups)
    rows = tuple(
        (title(contract), *(column[row] for _, column in groups), stack(contract))
        for row, contract in enumerate(contracts)
    )
    return Table(("hcall", *names, "stack"), rows)


def title(contract: Contract) -> str:
    """Return how a table names the hcall."""
    number = "" if contract.number is None else f" ({contract.number})"
    return f"{contract.hcall}{number}"


def stack(contract: Contract) -> str:
    """Return what a table says of SP_EL2."""
    return "needs one" if contract.needs_stack else "none"


def cell(contract: Contract, register: str) -> str:
    """Return what the contract says of one register, in a few words."""
    if not contract.served:
        return "not served"
    said = []
    if register in contract.args and contract.args[register] != "value":
        said.append(contract.args[register])
    if not contract.returns:
        takes = contract.callee.get(register)
        return ", ".join([*said, *([f"gets {takes}"] if takes else [])]) or "-"
    if register in contract.after:
        said.append(f"= {contract.after[register]}")
    elif register == "x0" and contract.result.kind != "unchanged":
        said.append(str(contract.result))
    elif register in contract.clobbers:
        said.append("may change")
    elif not said:
        said.append("kept")
    return ", ".join(said)


def _label(registers: list[str]) -> str:
    return registers[0] if len(registers) == 1 else f"{registers[0]}-{registers[-1]}"
