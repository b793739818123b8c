# SPDX-License-Identifier: Apache-2.0
"""Which ABI a running kernel speaks, and who serves it, by hcalls that are safe in each.

The contracts themselves are the oracle: each candidate (profile and server) says what
it would have answered, and the one that contradicts the observations least is it. So
a kernel that is broken in one place is still recognised, and accused by its own
contract. Answers count first; what an hcall may clobber decides between variants that
answer alike, and never against what was declared: that is the clobber's finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hilagent.abi import UNKNOWN, Contract, Profile
from hilagent.link.wire import Origin, Seen
from hilagent.linux.exchange import LiveExchange
from hilagent.linux.request import UNKNOWN_IMM, UNKNOWN_X0, Request
from hilagent.result import Finding, Verdict

from . import clobber, dispatch, names, observation
from .asks import KVM, PASSES, PKVM, STUB
from .look import Breach, Lab, Look

RULE = "abi"
GET = "HVC_GET_VECTORS"
_ALIGNED = 0x7FF
_NOT_SUPPORTED = (1 << 64) - 1


@dataclass(frozen=True)
class Candidate:
    """One profile and server, and how many observations it explains: by their answers
    alone, and with what they clobbered."""

    profile: Profile
    server: str
    answered: int
    explained: int

    def __str__(self) -> str:
        return f"{self.profile.name} by {self.server}"


@dataclass(frozen=True)
class Recognised:
    """What a kernel speaks.

    Attributes:
        profile, server: the best candidate, the earliest of equals.
        equals: every candidate that explains as much, the best included; servers too.
        answering: names of the profiles that explain the answers as well, clobbers aside.
        evidence: a line an observation.
    """

    profile: Profile
    server: str
    equals: tuple[Candidate, ...]
    answering: frozenset[str]
    explained: int
    asked: int
    evidence: tuple[str, ...]

    @property
    def certain(self) -> bool:
        """Whether one profile alone explains everything that was seen."""
        named = {each.profile.name for each in self.equals}
        return len(named) == 1 and self.explained == self.asked


def requests(profiles: Iterable[Profile], cpu: int = 0) -> tuple[Request, ...]:
    """Return hvcs that are harmless whatever of ``profiles`` the kernel speaks.

    Nothing in x0 that is a number or an SMCCC id; immediates 0, an unknown one, and
    that of get-vectors, which alone answers with more than an error.
    """
    gets = {each.numbers[GET] for each in profiles if _names_get(each)}
    return tuple(
        Request(cpu=cpu, imm=imm, pass_no=pass_no, fixed={0: UNKNOWN_X0})
        for imm in (0, UNKNOWN_IMM, *sorted(gets))
        for pass_no in PASSES
    )


def recognise(
    seen: Sequence[LiveExchange],
    profiles: Sequence[Profile],
    servers: Sequence[str] = (STUB, KVM),
) -> Recognised:
    """Return what explains ``seen`` best. Raises ValueError without candidates.

    Protected KVM refuses everything, and then no ABI can be told: offer it alone.

    Args:
        profiles: candidates, the likeliest first, with the numbers of this kernel's version.
        servers: who may serve; which of two that would answer alike is told by
            immediate 0, where KVM speaks SMCCC.
    """
    likely = (KVM, PKVM) if _speaks_smccc(seen) else (STUB,)
    candidates = [
        _candidate(profile, server, seen)
        for server in sorted(servers, key=lambda each: each not in likely)
        for profile in profiles
        if (UNKNOWN, server) in profile.contracts
    ]
    if not candidates:
        raise ValueError("no profile to recognise a kernel by")
    most = max((each.answered, each.explained) for each in candidates)
    best = tuple(each for each in candidates if (each.answered, each.explained) == most)
    alike = frozenset(each.profile.name for each in candidates if each.answered == most[0])
    first = best[0]
    return Recognised(
        first.profile, first.server, best, alike, first.explained, len(seen),
        tuple(_evidence(first, each) for each in seen),
    )  # fmt: skip


def _candidate(profile: Profile, server: str, seen: Sequence[LiveExchange]) -> Candidate:
    said = [breaches(profile, server, each) for each in seen]
    answered = sum(all(each.rule in clobber.RULES for each in one) for one in said)
    return Candidate(profile, server, answered, sum(not one for one in said))


def breaches(profile: Profile, server: str, seen: LiveExchange) -> list[Breach]:
    """Return how one exchange contradicts what ``server`` would do by ``profile``."""
    contract = _contract(profile, server, seen)
    swept = observation.of_exchange(
        seen.exchange, cpu=seen.cpu, origin=Origin.EL1H, pass_no=seen.pass_no
    )
    x0 = seen.exchange.after.x[0]
    vectors = x0 if contract.result.kind == "vectors" and _plausible(x0, profile) else -1
    span = (seen.exchange.sig.first,) * 2
    look = Look(swept, 0, swept.sigs[0], contract, (span,), Lab({}, vectors={seen.cpu: vectors}))
    said = [*dispatch.check(look), *clobber.check(look)]
    return [each for each in said if isinstance(each, Breach)]


@dataclass(frozen=True)
class Contradiction:
    """A kernel that doesn't speak what was declared."""

    verdict: Verdict
    message: str
    findings: tuple[Finding, ...] = ()


def contradiction(
    found: Recognised, declared: Profile | None, *, by: str = ""
) -> Contradiction | None:
    """Return what it means that ``found`` isn't ``declared``; None where it is, or where
    it answers like it and somebody declared it.

    Args:
        declared: what the kernel ought to speak; None where nobody said.
        by: who said so (``the build``, ``the lab``): then the kernel is accused.
            Empty for a default of ours, which accuses nobody.
    """
    equals = found.answering if by else {each.profile.name for each in found.equals}
    if declared is None or declared.name in equals:
        return None
    said = f"the kernel speaks {found.profile.name}, not {declared.name}"
    if not by:
        return Contradiction(Verdict.PRECONDITION, f"{said}, and nobody had said which")
    finding = Finding(
        RULE, UNKNOWN, "profile", f"{declared.name}, as {by} says",
        f"{found.profile.name} (explains {found.explained} of {found.asked} hvcs)",
        evidence="; ".join(found.evidence),
    )  # fmt: skip
    return Contradiction(Verdict.FAIL, f"{said}, as {by} says", (finding,))


def _speaks_smccc(seen: Sequence[LiveExchange]) -> bool:
    answers = {each.exchange.after.x[0] for each in seen if each.exchange.sig.first == 0}
    return _NOT_SUPPORTED in answers


def _names_get(profile: Profile) -> bool:
    return profile.selector == "immediate" and GET in profile.numbers


def _contract(profile: Profile, server: str, seen: LiveExchange) -> Contract:
    number = seen.exchange.before.x[0]
    if profile.selector == "immediate":
        number = seen.exchange.sig.first
    return replace(profile.contract(number, server), sweep=True)


def _plausible(value: int, profile: Profile) -> bool:
    return value != 0 and not value & _ALIGNED and value != profile.error


def _evidence(best: Candidate, seen: LiveExchange) -> str:
    sig, before, after = seen.exchange.sig, seen.exchange.before, seen.exchange.after
    hcall = _contract(best.profile, best.server, seen).hcall
    if sig.seen == Seen.RETURNED:
        answer = f"x0 = {after.x[0]:#x}" if sig.gpr_changed & 1 else "x0 unchanged"
        changed = names.gpr(sig.gpr_changed & 0x7FFFFFFE)
        answer += f", {' '.join(changed)} changed" if changed else ""
    else:
        answer = Seen(sig.seen).name if sig.seen in set(Seen) else f"seen {sig.seen}"
    wrong = breaches(best.profile, best.server, seen)
    fits = f"not as {best}" if wrong else f"as {best}"
    return f"hvc #{sig.first:#x}, x0 {before.x[0]:#x}: {answer} ({hcall}: {fits})"
