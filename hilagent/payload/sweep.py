# SPDX-License-Identifier: Apache-2.0
"""What a sweep is asked to do: one register pass over a range of immediates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from hilagent import errors
from hilagent.link import wire

from .jobs import pack_job

EVERYTHING = 0x10000
DEFAULT_SEED = 0x68696C6167656E74


@dataclass(frozen=True)
class SweepRequest:
    """One pass; the fields of ``wire.JOB``, which documents them.

    Attributes:
        fixed: register number to the value that it holds in place of the pattern.
        catch_mask: bit r: xr holds a catch table.
        stack_imms: hcalls that need a good SP_EL2 (at most 8).
        skip: immediates that are never issued (at most 8).
        land_imms: hcalls that don't return (at most 3).
        swept: ``imm``, or ``x0``: then ``first`` is the one immediate, and x0 takes
            ``count`` values from ``x0_first`` by ``x0_step``.
        block: immediates between heartbeats where the CPU owns the link itself.
    """

    cpu: int = 0
    origin: int = wire.Origin.EL1H
    pass_no: int = 0
    first: int = 0
    count: int = EVERYTHING
    seed: int = DEFAULT_SEED
    catch_mask: int = 0
    fixed: Mapping[int, int] = field(default_factory=dict)
    stack_imms: tuple[int, ...] = ()
    skip: tuple[int, ...] = ()
    land_imms: tuple[int, ...] = ()
    sp_usable: bool = False
    home_call: bool = False
    swept: str = "imm"
    x0_first: int = 0
    x0_step: int = 1
    block: int = 0

    def packed(self, kind: int = wire.Job.SWEEP, **extra: int) -> bytes:
        """Return the ``wire.JOB``. Raises `errors.UsageError` for what can't be asked."""
        _check(self)
        x = [self.fixed.get(register, 0) for register in range(31)]
        flags = wire.JobFlag.SP_USABLE if self.sp_usable else 0
        flags |= wire.JobFlag.SWEEP_X0 if self.swept == "x0" else 0
        flags |= wire.JobFlag.HOME_CALL if self.home_call else 0
        fields: dict[str, int | Iterable[int]] = {
            "cpu": self.cpu, "kind": kind, "origin": self.origin, "flags": flags,
            "pass": self.pass_no, "block": self.block, "seed": self.seed, "first": self.first,
            "count": self.count, "x0_first": self.x0_first, "x0_step": self.x0_step,
            "catch_mask": self.catch_mask,
            "stack_count": len(self.stack_imms), "stack_imms": self.stack_imms,
            "skip_count": len(self.skip), "skip_imms": self.skip,
            "land_count": len(self.land_imms), "land_imms": self.land_imms,
            "fixed_mask": sum(1 << register for register in self.fixed), "x": x,
        }  # fmt: skip
        return pack_job(fields | extra)


class HvcOptions(TypedDict, total=False):
    """How one hvc is issued: options of `Payload.hvc`.

    ``x``: register number to value, all others hold the seed's pattern. ``direct``: VBAR_EL2
    is the table under test itself, brought home by ``home_imm``. ``extra``: other fields of
    ``wire.JOB``. The others are as in `SweepRequest`.
    """

    cpu: int
    origin: int
    x: Mapping[int, int] | None
    seed: int
    pass_no: int
    catch_mask: int
    stack_imms: Sequence[int]
    direct: bool
    home_imm: int
    extra: Mapping[str, int] | None


def hvc_request(imm: int, **how: Unpack[HvcOptions]) -> tuple[SweepRequest, bytes]:
    """Return one hvc as a sweep of one immediate, and the ``wire.JOB`` that it is."""
    request = SweepRequest(
        cpu=how.get("cpu", 0), origin=how.get("origin", wire.Origin.EL1H),
        pass_no=how.get("pass_no", 0), first=imm, count=1, seed=how.get("seed", DEFAULT_SEED),
        catch_mask=how.get("catch_mask", 0), fixed=how.get("x") or {},
        stack_imms=tuple(how.get("stack_imms", ())),
    )  # fmt: skip
    kind = wire.Job.DIRECT if how.get("direct") else wire.Job.HVC
    more = how.get("extra") or {}
    return request, request.packed(kind, home_imm=how.get("home_imm", 0), **more)


def sweep_name(request: SweepRequest) -> str:
    """Return what a sweep is called in messages."""
    return f"sweep from {wire.Origin(request.origin).name}, pass {request.pass_no}"


def _check(request: SweepRequest) -> None:
    if request.swept not in ("imm", "x0"):
        raise errors.UsageError(f"swept is imm or x0, not {request.swept!r}")
    last = request.first + (request.count if request.swept == "imm" else 1)
    if request.first < 0 or request.count < 1 or last > EVERYTHING:
        raise errors.UsageError(f"immediates {request.first:#x} to {last - 1:#x}: 16 bits")
    if any(not 0 <= register <= 30 for register in request.fixed):
        raise errors.UsageError(f"registers x0 to x30, not {sorted(request.fixed)}")
    if max(len(request.stack_imms), len(request.skip)) > 8 or len(request.land_imms) > 3:
        raise errors.UsageError(
            "a sweep takes at most 8 immediates with a stack, 8 left out and 3 that land"
        )
