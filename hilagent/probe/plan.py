# SPDX-License-Identifier: Apache-2.0
"""What to sweep: from a profile and a server to the payload's jobs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from hilagent import errors
from hilagent.abi import Profile
from hilagent.abi.contract import ADDRESS_KINDS
from hilagent.link import wire
from hilagent.payload import SweepRequest
from hilagent.result import SweepPass

from . import names

Subject = Literal["vectors", "recorder"]
PASSES = (0, 1)
EVERYTHING = 0x10000
BASELINE = 256
"""Immediates of the recorder's second pass: enough to tell what this CPU can't hold."""

ALL_CAUGHT = 0xF
"""x0 to x3 hold catch tables, also where the contract takes no address: vectors set
from the wrong register are then named, and don't lose the CPU."""

SPREAD = 0x0101010101010101
"""Step of x0 that goes from 0 to all ones in 256 values; the last, -1, is a result too."""

SAMPLE = 0x400
"""Immediates from a CPU, origin or pass that isn't swept whole."""

_LISTED = 8  # wire.JOB's stack_imms and skip_imms
_LANDING = 3  # wire.JOB's land_imms
ORIGINS = {"EL1h": wire.Origin.EL1H, "EL2h": wire.Origin.EL2H, "EL2t": wire.Origin.EL2T}


def requests(
    profile: Profile,
    server: str,
    subject: Subject = "vectors",
    cpus: Sequence[int] = (0,),
    *,
    skip: Sequence[int] = (),
    sampled: bool = False,
) -> tuple[SweepRequest, ...]:
    """Return the sweeps that ``subject`` needs, in an order that is good to run.

    ``vectors``: every immediate, two passes, each origin that the server serves.
    ``recorder``: every immediate from EL1h, EL2h and EL2t in one pass, and the
    first 256 in the other.

    Args:
        profile: the ABI of the vectors under test.
        server: whose contract they keep.
        subject: what is under test.
        cpus: which CPUs; each is swept.
        skip: immediates to leave out besides those of the contract, e.g. one that
            was seen to hang. Judge against the requests made *without* it: what was
            left out is then a gap.
        sampled: only the first CPU is asked everything: from EL1h in both passes, from
            other origins in one. The rest are asked the first ``SAMPLE`` immediates.

    Raises UsageError for a profile whose hcalls are named by x0, or one with more
    exceptions than a job can carry.
    """
    if subject == "recorder":
        return tuple(request for cpu in cpus for request in _recorder(cpu))
    _check(profile, server, skip)
    origins = [origin for origin in ORIGINS if origin in profile.servers[server].origins]
    return tuple(
        _vectors(
            profile, server, cpu, origin, pass_no, skip,
            count=SAMPLE
            if sampled and (cpu != cpus[0] or (origin != "EL1h" and pass_no))
            else EVERYTHING,
        )
        for origin in origins
        for pass_no in PASSES
        for cpu in cpus
    )  # fmt: skip


def baseline(profile: Profile, server: str, cpus: Sequence[int] = (0,)) -> tuple[SweepRequest, ...]:
    """Return the short recorder sweeps that must be clean before vectors are judged."""
    origins = profile.servers[server].origins
    return tuple(
        SweepRequest(cpu=cpu, origin=ORIGINS[origin], pass_no=pass_no, count=BASELINE)
        for cpu in cpus
        for origin in origins
        for pass_no in PASSES
    )


def narrow(
    profile: Profile, server: str, cpus: Sequence[int] = (0,), *, skip: Sequence[int] = ()
) -> tuple[SweepRequest, ...]:
    """Return short sweeps where only what the contract takes as an address is a catch table.

    In :func:`requests` x1 to x3 hold addresses, whose upper halves are often zero: a
    handler that clears just those is seen here alone. Worth running where the
    dispatch rules held; vectors set from a wrong register would lose the CPU.
    """
    _check(profile, server, ())
    mask = profile.catch_mask(server)
    return tuple(
        _vectors(profile, server, cpu, origin, pass_no, skip, count=BASELINE, catch_mask=mask)
        for origin in ORIGINS
        if origin in profile.servers[server].origins
        for pass_no in PASSES
        for cpu in cpus
    )


def by_value(
    profile: Profile, server: str, cpu: int = 0, *, skip: Sequence[int] = ()
) -> tuple[SweepRequest, ...]:
    """Return sweeps over x0's value, for hcalls that take no address (and two unknown ones).

    In :func:`requests` x0 always holds an address. Vectors that look at its value, as
    those before 2015 did, are seen here alone, and so are those that wear out: each is
    issued 511 times. Small values with x1 to x3 zero; then 255 spread over all 64 bits.

    Args:
        skip: values of x0 that can't be issued.
    """
    _check(profile, server, ())
    known = set(profile.numbers.values())
    unknown = next(number for number in range(EVERYTHING) if number not in known)
    plain = [
        each.number
        for each in profile.hcalls(server)
        if each.sweep and each.number is not None and not ADDRESS_KINDS & set(each.args.values())
    ]
    small = names.without([(0, BASELINE - 1)], [(value, value) for value in skip])
    spread = (1, BASELINE - 2) if 0 in skip else (0, BASELINE - 2)
    ways = [*((1, span) for span in small), (SPREAD, spread)]
    return tuple(
        SweepRequest(
            cpu=cpu, origin=ORIGINS[origin], first=number, swept="x0", count=last - first + 1,
            x0_first=first * step, x0_step=step,
            fixed=dict.fromkeys((1, 2, 3), 0) if step == 1 else {},
            stack_imms=profile.stack_imms(server),
        )
        for origin in ORIGINS
        if origin in profile.servers[server].origins
        for number in (*plain, unknown, EVERYTHING - 1)
        for step, (first, last) in ways
    )  # fmt: skip


def as_passes(swept: SweepPass, request: SweepRequest) -> tuple[SweepPass, ...]:
    """Return a sweep over x0 as passes over its one immediate, one for each signature.

    What the result had no room for, or a map that can't be trusted, stays a gap.
    """
    whole = swept.crc_ok and not swept.left_out and swept.count == request.count
    return tuple(
        replace(
            swept, first=request.first, count=1, runs=((request.first, 1, index),), swept="imm",
            crc_ok=whole, left_out=0,
        )
        for index in sorted({index for _, _, index in swept.runs})
    )  # fmt: skip


def as_asked(request: SweepRequest) -> SweepRequest:
    """Return a sweep over x0 as the coverage of its one immediate that it asks for."""
    return replace(request, count=1, swept="imm") if request.swept == "x0" else request


def _recorder(cpu: int) -> tuple[SweepRequest, ...]:
    return tuple(
        SweepRequest(cpu=cpu, origin=origin, pass_no=pass_no, count=count)
        for origin in ORIGINS.values()
        for pass_no, count in ((0, EVERYTHING), (1, BASELINE))
    )


def _vectors(
    profile: Profile,
    server: str,
    cpu: int,
    origin: str,
    pass_no: int,
    skip: Sequence[int],
    *,
    count: int = EVERYTHING,
    catch_mask: int = ALL_CAUGHT,
) -> SweepRequest:
    return SweepRequest(
        cpu=cpu,
        origin=ORIGINS[origin],
        pass_no=pass_no,
        count=count,
        catch_mask=catch_mask,
        stack_imms=profile.stack_imms(server),
        skip=tuple(sorted({*profile.skip_imms(server), *skip})),
        land_imms=landing_imms(profile, server),
    )


def landing_imms(profile: Profile, server: str) -> tuple[int, ...]:
    """Return the numbers of the hcalls that don't return."""
    return tuple(
        each.number
        for each in profile.hcalls(server)
        if not each.returns and each.number is not None
    )


def _check(profile: Profile, server: str, skip: Sequence[int]) -> None:
    if profile.selector != "immediate":
        raise errors.UsageError(
            f"profile {profile.name} names hcalls by {profile.selector}:"
            " a sweep over immediates says nothing about it",
            hint="choose an iss profile",
        )
    if server not in profile.servers:
        raise errors.UsageError(
            f"profile {profile.name} has no server '{server}'",
            hint=f"its servers: {', '.join(profile.servers)}",
        )
    lists = {
        "need a stack": (profile.stack_imms(server), _LISTED),
        "can't be swept": ({*profile.skip_imms(server), *skip}, _LISTED),
        "don't return": (landing_imms(profile, server), _LANDING),
    }
    for what, (numbers, most) in lists.items():
        if len(numbers) > most:
            raise errors.UsageError(
                f"profile {profile.name}: {len(numbers)} hcalls {what}; a sweep takes {most}"
            )
