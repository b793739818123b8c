# SPDX-License-Identifier: Apache-2.0
"""What the probe module is asked: one hvc or a sweep, and from a contract to either. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hilagent.abi import UNKNOWN, Contract, Profile
from hilagent.abi.contract import ADDRESS_KINDS
from hilagent.errors import UsageError

from .wire import CATCHES, REQUEST, Effect, Flag

DEFAULT_SEED = 0x68696C6167656E74
EVERYTHING = 0x10000
UNKNOWN_IMM = 0xFFF1
UNKNOWN_X0 = 0x68696C0000000000
"""No server's number, and no SMCCC function id: those have 32 bits."""

ALL_CAUGHT = (1 << CATCHES) - 1
_STUB = "hyp-stub"
_MAX_SKIP = 7
_EFFECTS: Mapping[str, Effect] = {
    "none": Effect.NONE, "get-vectors": Effect.GET_VECTORS, "set-vectors": Effect.SET_VECTORS,
    "reset-vectors": Effect.RESET_VECTORS, "call": Effect.CALL, "restart": Effect.RESTART,
    "finalise": Effect.FINALISE,
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """The fields of ``wire.REQUEST``, which documents them.

    Attributes:
        imm: the immediate; of a sweep the first one.
        count: hvcs of a sweep.
        fixed: register number to the value that it holds in place of the pattern.
        catch_mask: bit r: xr holds a catch table (r < 4).
        skip: immediates that a sweep never issues (at most 7).
        swept: ``imm`` or ``x0``.
    """

    cpu: int = 0
    imm: int = 0
    pass_no: int = 0
    count: int = 1
    effect: Effect = Effect.UNDECLARED
    flags: Flag = Flag.PLAIN
    seed: int = DEFAULT_SEED
    catch_mask: int = 0
    fixed: Mapping[int, int] = field(default_factory=dict)
    skip: tuple[int, ...] = ()
    swept: str = "imm"
    x0_first: int = 0
    x0_step: int = 1
    stub_vectors: int = 0
    max_frames: int = 8

    def packed(self) -> bytes:
        """Return the record's body. Raises `errors.UsageError` for what can't be asked."""
        _check(self)
        flags = self.flags | (Flag.SWEEP_X0 if self.swept == "x0" else Flag.PLAIN)
        x = [self.fixed.get(register, 0) for register in range(31)]
        fields: dict[str, int | tuple[int, ...]] = {
            "cpu": self.cpu, "flags": flags, "effect": self.effect, "pass": self.pass_no,
            "first": self.imm, "count": self.count, "catch_mask": self.catch_mask,
            "fixed_mask": sum(1 << register for register in self.fixed), "seed": self.seed,
            "x0_first": self.x0_first, "x0_step": self.x0_step,
            "stub_vectors": self.stub_vectors, "ask_x0": UNKNOWN_X0, "ask_imm": UNKNOWN_IMM,
            "max_frames": self.max_frames, "skip_count": len(self.skip), "skip": self.skip,
            "x": tuple(x),
        }  # fmt: skip
        return REQUEST.pack(**fields)


def for_contract(profile: Profile, contract: Contract, *, cpu: int, pass_no: int = 0) -> Request:
    """Return the request that issues the hcall of ``contract`` on a running kernel.

    Every register that could be taken for an address holds a catch table, but for
    x0 where it names the hcall. What the hyp-stub serves is asked with EL2's MMU off.
    """
    fixed: dict[int, int] = {}
    imm, catch_mask, number = 0, ALL_CAUGHT, contract.number
    if profile.selector == "immediate":
        imm = UNKNOWN_IMM if number is None else number
    else:
        fixed[0] = UNKNOWN_X0 if number is None else number
        catch_mask &= ~1
    if not takes_address(profile, contract.hcall):
        catch_mask &= _spare(contract)
    flags = Flag.PLAIN
    if contract.server == _STUB:
        flags |= Flag.STUB
        flags |= Flag.ASK if contract.effect == "set-vectors" else Flag.PLAIN
    return Request(
        cpu=cpu, imm=imm, pass_no=pass_no, flags=flags, catch_mask=catch_mask, fixed=fixed,
        effect=Effect.UNDECLARED if number is None else _EFFECTS[contract.effect],
    )  # fmt: skip


def takes_address(profile: Profile, hcall: str) -> bool:
    """Return whether any server of ``hcall`` takes an address: which one serves a CPU may
    have changed meanwhile."""
    kinds = {
        kind
        for each in profile.contracts.values()
        if each.hcall == hcall
        for kind in each.args.values()
    }
    return hcall == UNKNOWN or bool(ADDRESS_KINDS & kinds)


def _spare(contract: Contract) -> int:
    """Registers that the contract takes for plain values hold patterns: more is seen so."""
    values = {int(register[1:]) for register in contract.args}
    return sum(1 << register for register in range(CATCHES) if register not in values)


def _check(request: Request) -> None:
    if request.swept not in ("imm", "x0"):
        raise UsageError(f"swept is imm or x0, not {request.swept!r}")
    last = request.imm + (request.count if request.swept == "imm" else 1) - 1
    if request.imm < 0 or not 1 <= request.count <= EVERYTHING or last >= EVERYTHING:
        raise UsageError(f"immediates {request.imm:#x} to {last:#x}: 16 bits")
    if any(not 0 <= register <= 30 for register in request.fixed):
        raise UsageError(f"registers x0 to x30, not {sorted(request.fixed)}")
    if len(request.skip) > _MAX_SKIP:
        raise UsageError(f"a sweep leaves out at most {_MAX_SKIP} immediates")
    if request.pass_no not in (0, 1) or request.catch_mask & ~ALL_CAUGHT:
        raise UsageError("pass 0 or 1, and catch tables in x0 to x3 only")
