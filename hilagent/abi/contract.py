# SPDX-License-Identifier: Apache-2.0
"""What an hcall promises: frozen data, made from a profile's YAML by :mod:`hilagent.abi.load`.

A *profile* is one ABI (``iss-2015``, ``x0-mainline``, a lab's own). It answers with
a :class:`Contract` for each hcall number, server (whose vectors serve it) and
origin (where the ``hvc`` is issued from). A breach of the contract is a finding;
a change that it allows is a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UNKNOWN = "unknown"
"""The name of every hcall that a server doesn't serve: one more row of the table."""

ORIGINS = ("EL1h", "EL2h", "EL2t")
ADDRESS_KINDS = frozenset({"vectors", "function", "entry"})

Effect = Literal[
    "none", "get-vectors", "set-vectors", "reset-vectors", "call", "restart", "finalise"
]
ResultKind = Literal["unchanged", "value", "vectors", "callee", "any", "none"]


@dataclass(frozen=True)
class Result:
    """What x0 holds afterwards.

    Attributes:
        kind: ``unchanged``; ``value`` (one of ``values``); ``vectors`` (VBAR_EL2);
            ``callee`` (what the called function left there); ``any``; ``none`` (it
            never returns).
    """

    kind: ResultKind
    values: tuple[int, ...] = ()

    def __str__(self) -> str:
        if self.kind == "value":
            return " or ".join(f"{value:#x}" for value in self.values)
        return {
            "unchanged": "unchanged", "vectors": "VBAR_EL2", "callee": "the callee's x0",
            "any": "anything", "none": "never returns",
        }[self.kind]  # fmt: skip


@dataclass(frozen=True)
class Contract:
    """One hcall, served by one server, issued from one origin.

    Attributes:
        number: the immediate (or x0's value); None for ``unknown``.
        served: False where the server doesn't serve this origin: never issue it
            there; ``reason`` says what would happen.
        args: what each argument register means: vectors, function, entry, value.
        callee: for calls and restarts, which input register each of the callee's
            argument registers gets, e.g. ``{"x0": "x1"}``.
        after: registers whose value afterwards is another input register's when
            the callee changes nothing.
        clobbers: registers that may change, besides the result and ``after``.
        el2_changes: EL2 system registers that it is meant to change.
        landing_el: exception level that a callee or entry is reached at.
        needs_stack: it may use SP_EL2.
        sweep: False where one issue of it ends the sweep; ``sweep_reason`` says why.
    """

    hcall: str
    number: int | None
    server: str
    origin: str
    served: bool
    reason: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    effect: Effect = "none"
    callee: Mapping[str, str] = field(default_factory=dict)
    result: Result = Result("unchanged")
    clobbers: frozenset[str] = frozenset()
    el2_changes: frozenset[str] = frozenset()
    landing_el: int = 2
    needs_stack: bool = False
    returns: bool = True
    sweep: bool = True
    sweep_reason: str = ""
    about: str = ""

    @property
    def after(self) -> Mapping[str, str]:
        """Which input register each of these holds afterwards."""
        return self.callee if self.effect == "call" else {}

    def may_change(self, register: str) -> bool:
        """Whether ``register`` may differ afterwards; its value may still be prescribed."""
        if register == "x0" and self.result.kind != "unchanged":
            return True
        return register in self.clobbers or register in self.after

    def gives_away(self, register: str) -> bool:
        """Whether the contract leaves the value of ``register`` open."""
        if register == "x0" and self.result.kind == "any":
            return True
        prescribed = register in self.after or (register == "x0" and self.may_change("x0"))
        return register in self.clobbers and not prescribed


@dataclass(frozen=True)
class Server:
    """Whose vectors serve the hcalls. ``others``: what an origin not served meets."""

    name: str
    about: str
    origins: tuple[str, ...]
    others: str


@dataclass(frozen=True)
class Profile:
    """One hcall ABI.

    Attributes:
        selector: what names the hcall: ``immediate`` of the hvc, or ``x0``.
        kernel: the version whose numbers these are; empty where they don't vary.
        error_name, error: the value that refuses an unknown hcall; None: x0 unchanged.
        bound_name: of the number above the last, where the ABI has one.
        numbers: every hcall's name and number, whoever serves it.
        digest: of the data, for the report: two runs with the same digest used
            the same contract.
    """

    name: str
    about: str
    selector: Literal["immediate", "x0"]
    kernel: str
    error_name: str
    error: int | None
    bound_name: str
    numbers: Mapping[str, int]
    servers: Mapping[str, Server]
    contracts: Mapping[tuple[str, str], Contract]
    digest: str

    def contract(self, number: int, server: str, origin: str = "EL1h") -> Contract:
        """Return what ``number`` promises. Raises KeyError for an unknown server or origin."""
        if origin not in ORIGINS:
            raise KeyError(origin)
        return self.named(self.name_of(number, server), server, origin)

    def named(self, hcall: str, server: str, origin: str = "EL1h") -> Contract:
        """Return the contract of ``hcall`` (or ``unknown``) by its name."""
        contract = self.contracts[hcall, server]
        if origin == "EL1h" and contract.served:
            return contract
        spec = self.servers[server]
        served = origin in spec.origins
        changes = {"origin": origin, "served": served, "reason": "" if served else spec.others}
        return Contract(**{**contract.__dict__, **changes})

    def name_of(self, number: int, server: str) -> str:
        """Return the name of the hcall that ``number`` reaches at ``server``, or ``unknown``."""
        for name, known in self.numbers.items():
            if known == number and (name, server) in self.contracts:
                return name
        return UNKNOWN

    def hcalls(self, server: str) -> tuple[Contract, ...]:
        """Return the contract of each hcall that ``server`` serves, by number; unknown last."""
        mine = [each for each in self.contracts.values() if each.server == server]
        return tuple(sorted(mine, key=lambda each: (each.number is None, each.number or 0)))

    def catch_mask(self, server: str) -> int:
        """Return the registers (bit r: x<r>) that any hcall takes as an address."""
        mask = 0
        for contract in self.hcalls(server):
            for register, kind in contract.args.items():
                if kind in ADDRESS_KINDS:
                    mask |= 1 << int(register[1:])
        return mask

    def stack_imms(self, server: str) -> tuple[int, ...]:
        """Return the numbers of the hcalls that may use SP_EL2, ascending."""
        return tuple(
            each.number
            for each in self.hcalls(server)
            if each.needs_stack and each.number is not None
        )

    def skip_imms(self, server: str) -> tuple[int, ...]:
        """Return the numbers of the hcalls that a sweep must leave out, ascending."""
        return tuple(
            each.number
            for each in self.hcalls(server)
            if not each.sweep and each.number is not None
        )

    def serves_el2(self, server: str) -> bool:
        """Whether hvcs from EL2h are served too."""
        return "EL2h" in self.servers[server].origins
