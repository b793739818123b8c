# SPDX-License-Identifier: Apache-2.0
"""Hcalls issued from a running kernel, judged by the rules that the payload's are.

The module's exchanges have the payload's form, so the same judge sees them. What it
can't see at EL1 is not held but *not observable live*: EL2's own registers, and
whether SP_EL2 was used. Where x0 names the hcall, its value stands where an
immediate does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hilagent.abi import Profile
from hilagent.link.wire import Origin, Seen
from hilagent.linux.exchange import Landing, LiveExchange, LiveSweep
from hilagent.linux.wire import Flag
from hilagent.payload import SweepRequest
from hilagent.result import CpuFacts, Finding, Sig, SweepPass

from . import asks, entry, names, observation, ruling
from .arrival import Arrival
from .asks import STUB, Ask, LeftOut, Plan
from .judgement import Cell, Judgement, State, Withheld, judge
from .look import Lab
from .ruling import Ruling

UNSEEN = "not observable live"
NOT_LIVE: Mapping[str, str] = {
    "stack": f"{UNSEEN}: SP_EL2 can't be read from EL1",
    "el2-state": f"{UNSEEN}: no register of EL2 can be read from EL1",
}
IN_PART: Mapping[str, str] = dict.fromkeys(("clobber", "leak"), f"{UNSEEN}: upper Z, P, FFR")
"""What of a rule that holds is not looked at from EL1."""
_LANDED_RULES = frozenset({
    "entry-el", "entry-mmu", "entry-dcache", "entry-daif", "entry-endian", "entry-wxn",
    "entry-spsel",
})  # fmt: skip
"""The rules of an entry that a restart into the module's own function shows."""
Got = LiveExchange | LiveSweep
_HOME = (Seen.RETURNED, Seen.VECTORS_SET, Seen.CALLED)
_UNKNUNSEEN_VECTORS = -1
_ALIGNED = 0x7FF
_SAME = (1 << 21) - 1


@dataclass(frozen=True)
class Done:
    """One ask and what came of it; ``more``: of ``ask.then``."""

    ask: Ask
    got: Got
    more: tuple[LiveExchange, ...] = ()

    @property
    def proof(self) -> bool | None:
        """Whether vectors were set, by what get-vectors answers then; None: nobody knows."""
        if not self.more:
            return None
        answer, request = _answer(self.more[0]), self.ask.request
        back = self.ask.then[-1].fixed
        if answer in request.fixed.values():
            return True
        return False if answer in back.values() else None


def judge_all(
    profile: Profile,
    plan: Plan,
    done: Sequence[Done],
    *,
    stub: int = 0,
    host: int = 0,
    withheld: Withheld | None = None,
) -> Judgement:
    """Judge what a plan's asks showed; what it asks for and isn't among ``done`` is a gap.

    Args:
        stub: physical address of the hyp-stub's vectors, 0 while unknown.
        host: likewise of those that KVM serves its host by.
        withheld: of :func:`withheld`.
    """
    mine = _as_asked(profile, plan)
    passes = [swept for each in done for swept in _passes(mine, plan.server, each)]
    cpus = {each.ask.request.cpu for each in done}
    lab = Lab({}, vectors=_vectors(mine, plan.server, done, cpus, stub, host))
    judged = judge(mine, plan.server, passes, lab, wanted=wanted(mine, plan), withheld=withheld)
    unproven = {each.ask.hcall for each in done if _unproven(each)}
    return _named(profile, _unasked(_unobserved(judged, unproven), plan.left_out))


def withheld(exchanges: Iterable[LiveExchange]) -> Withheld:
    """Return what changed with a nop in the place of the hvc: nobody is accused of it."""
    out: dict[tuple[int, int], set[str]] = {}
    for each in exchanges:
        out.setdefault((each.cpu, int(Origin.EL1H)), set()).update(each.changed)
    return {key: frozenset(names) for key, names in out.items() if names}


def wanted(profile: Profile, plan: Plan) -> tuple[SweepRequest, ...]:
    """Return the asks of a plan as coverage, in the numbers that hcalls are known by."""
    out = []
    for ask in plan.asks:
        request = ask.request
        swept = request.count if request.swept == "imm" else 1
        first, last = request.imm, request.imm + swept - 1
        if profile.selector == "x0":
            first = ask.number or 0
            last = first + _counted(ask) - 1
        for start, end in names.without([(first, last)], [(n, n) for n in request.skip]):
            out.append(
                SweepRequest(
                    cpu=request.cpu, pass_no=request.pass_no, first=start, count=end - start + 1
                )
            )  # fmt: skip
    return tuple(out)


def vectors_of(profile: Profile, done: Sequence[Done], host: int = 0) -> dict[int, int]:
    """Return VBAR_EL2 by CPU, as far as HVC_GET_VECTORS answered plausibly.

    Args:
        host: physical address of KVM's vectors, 0 while unknown. It maps them elsewhere,
            by steps of no less than 2 MiB.
    """
    answers: dict[int, set[int]] = {}
    for each in done:
        if isinstance(each.got, LiveExchange) and _effect(profile, each.ask) == "get-vectors":
            answers.setdefault(each.ask.request.cpu, set()).add(_answer(each.got))
    return {
        cpu: value
        for cpu, values in answers.items()
        for value in values
        if len(values) == 1 and value and not value & _ALIGNED and value != profile.error
        if not host or not (value ^ host) & _SAME
    }


def agreed(profile: Profile, done: Sequence[Done], host: int = 0) -> dict[int, int]:
    """Return :func:`vectors_of` of the CPUs that agree with most: others may be lost by theirs."""
    told = vectors_of(profile, done, host)
    most = _most(told)
    return {cpu: value for cpu, value in told.items() if value == most}


def landed(ask: Ask, got: LiveExchange, *, sender_el: int = 2) -> tuple[Ruling[Arrival], ...]:
    """Judge the state that a restart entered the module's own function in.

    It is the state that the next kernel would be entered in, shown without a restart.
    Empty where nothing was entered: the rule ``dispatch`` accuses that.
    """
    if got.landing is None or got.exchange.sig.seen != Seen.LANDED:
        return ()
    server = STUB if ask.request.flags & Flag.STUB else "kvm"
    arrival = Arrival(
        (_facts(got.cpu, got.landing),), image=0, image_size=0, server=server, sender_el=sender_el
    )
    rulings = entry.judge(arrival)
    return tuple(each for each in rulings if each.rule.id in _LANDED_RULES)


def landed_findings(done: Sequence[Done]) -> tuple[Finding, ...]:
    """Return what :func:`landed` accuses, over all restarts; the CPU is the real one."""
    return tuple(
        replace(finding, cpus=(each.got.cpu,))
        for each in done
        if isinstance(each.got, LiveExchange)
        for finding in ruling.findings(landed(each.ask, each.got))
    )


def _facts(cpu: int, landing: Landing) -> CpuFacts:
    return CpuFacts(
        cpu=0, mpidr=landing.reg["MPIDR_EL1"], midr=0, front=0, base_vectors=0, catch=0,
        catch_size=0, catch_count=0, stack_page=0, bad_sp=0, ids={},
        entry={**dict.fromkeys(("x0", "x1", "x2", "x3"), 0), **landing.reg},
    )  # fmt: skip


def _as_asked(profile: Profile, plan: Plan) -> Profile:
    """Return ``profile`` where an hcall counts as swept if and only if it was asked for."""
    asked = {ask.hcall for ask in plan.asks}
    asked |= {each.hcall for each in plan.left_out if not each.meant}
    reasons = {each.hcall: each.reason for each in plan.left_out}
    contracts = dict(profile.contracts)
    for (hcall, server), contract in profile.contracts.items():
        if server == plan.server:
            why = reasons.get(hcall, "not asked for")
            contracts[hcall, server] = replace(
                contract, sweep=hcall in asked, sweep_reason="" if hcall in asked else why
            )
    return replace(profile, contracts=contracts)


def _passes(profile: Profile, server: str, done: Done) -> list[SweepPass]:
    ask, got = done.ask, done.got
    if isinstance(got, LiveSweep):
        return _of_sweep(profile, ask, got.swept)
    swept = observation.of_exchange(
        got.exchange, cpu=got.cpu, origin=Origin.EL1H, pass_no=got.pass_no
    )
    sig = _as_promised(profile, server, done, got)
    swept = replace(swept, sigs=(sig,))
    if profile.selector == "x0":
        number = ask.number or 0
        swept = replace(swept, first=number, runs=((number, 1, 0),))
    return [swept]


def _of_sweep(profile: Profile, ask: Ask, swept: SweepPass) -> list[SweepPass]:
    by_imm = profile.selector == "immediate"
    if by_imm and ask.request.swept == "imm":
        return list(_issued(swept))
    number = ask.number or 0
    if not by_imm and _counted(ask) > 1:
        shift = number - swept.first
        runs = tuple((first + shift, count, index) for first, count, index in swept.runs)
        return [replace(swept, first=number, runs=runs, swept="imm")]
    whole = swept.crc_ok and not swept.left_out and swept.count == ask.request.count
    return [
        replace(
            swept, first=number, count=1, runs=((number, 1, index),), swept="imm", crc_ok=whole,
            left_out=0, given=_asked_with(ask, swept, index) if by_imm else "",
        )
        for index in sorted({index for _, _, index in swept.runs})
    ]  # fmt: skip


def _asked_with(ask: Ask, swept: SweepPass, index: int) -> str:
    """Return the values of x0, step 1, that had this signature."""
    first = ask.request.x0_first - swept.first
    runs = [(first + at, first + at + count - 1) for at, count, each in swept.runs if each == index]
    return f"x0 was {names.show_spans(names.merge_spans(runs))}"


def _issued(swept: SweepPass) -> Iterator[SweepPass]:
    """Yield the parts of a sweep between what it skips: that is issued alone."""
    runs: list[tuple[int, int, int]] = []
    for run in swept.runs:
        index = run[2]
        if index >= len(swept.sigs) or swept.sigs[index].seen != Seen.NOT_ISSUED:
            runs.append(run)
        elif runs:
            yield _part(swept, runs, 0)
            runs = []
    if runs or swept.left_out:
        yield _part(swept, runs, swept.left_out)


def _part(swept: SweepPass, runs: Sequence[tuple[int, int, int]], left_out: int) -> SweepPass:
    end = swept.first + swept.count
    first = runs[0][0] if runs else end - left_out
    count = sum(count for _, count, _ in runs) + left_out
    return replace(swept, first=first, count=count, runs=tuple(runs), left_out=left_out)


def _counted(ask: Ask) -> int:
    """Return how many numbers an ask covers where x0 names the hcall: one, or a range."""
    consecutive = ask.request.swept == "x0" and ask.request.x0_step == 1
    return ask.request.count if consecutive else 1


def _as_promised(profile: Profile, server: str, done: Done, got: LiveExchange) -> Sig:
    """Return the signature with what can't have shown itself taken as promised.

    A result that already stood in x0 (set-vectors is number 0, and answers 0) counts
    as given, and so does setting KVM's vectors, but where they are known to be unchanged.
    """
    ask = done.ask
    sig, after = got.exchange.sig, got.exchange.after.x[0]
    contract = profile.named(ask.hcall, server)
    if sig.seen not in _HOME:
        return sig
    if contract.result.kind == "value" and after in contract.result.values:
        sig = replace(sig, gpr_changed=sig.gpr_changed | 1, x0=after)
    kept = not (ask.own or ask.then) or done.proof is False
    if sig.seen == Seen.RETURNED and not kept:
        catch = asks.vectors_register(contract) + 4 * got.pass_no
        sig = replace(sig, seen=Seen.VECTORS_SET, catch=catch)
    return sig


def _effect(profile: Profile, ask: Ask) -> str:
    return next((c.effect for (name, _), c in profile.contracts.items() if name == ask.hcall), "")


def _answer(got: LiveExchange) -> int:
    return got.exchange.after.x[0] if got.exchange.sig.gpr_changed & 1 else 0


def _vectors(
    profile: Profile, server: str, done: Sequence[Done], cpus: Iterable[int], stub: int, host: int
) -> dict[int, int]:
    """Return what HVC_GET_VECTORS must answer on each CPU: what is known, else the majority.

    One server's vectors are the same on every CPU.
    """
    if server == STUB and stub:
        return dict.fromkeys(cpus, stub)
    return dict.fromkeys(cpus, _most(vectors_of(profile, done, host)))


def _most(told: Mapping[int, int]) -> int:
    """Return the vectors that most CPUs tell; where as many tell others, nobody knows."""
    counted = Counter(told.values()).most_common(2)
    tied = len(counted) > 1 and counted[0][1] == counted[1][1]
    return counted[0][0] if counted and not tied else _UNKNUNSEEN_VECTORS


def _unproven(done: Done) -> bool:
    return done.ask.own or (bool(done.ask.then) and done.proof is None)


def _unobserved(judged: Judgement, own: Collection[str]) -> Judgement:
    cells = dict(judged.cells)
    for key, cell in judged.cells.items():
        reason = NOT_LIVE.get(cell.rule, "")
        if cell.rule == "dispatch" and cell.hcall in own:
            reason = f"{UNSEEN}: whether KVM's vectors were set can't be told"
        if cell.state is not State.HELD:
            continue
        if reason:
            cells[key] = Cell(cell.hcall, cell.rule, State.NOT_APPLICABLE, reason=reason)
        elif cell.rule in IN_PART:
            cells[key] = _saying(cell, IN_PART[cell.rule])
    segments = {
        origin: tuple(
            replace(each, effect=f"{UNSEEN}: {each.effect}") if each.hcall in own else each
            for each in said
        )
        for origin, said in judged.segments.items()
    }
    return replace(judged, cells=cells, segments=segments)


def _unasked(judged: Judgement, left_out: Iterable[LeftOut]) -> Judgement:
    """Return ``judged`` with what was left out on some CPUs: told, or where not meant, open."""
    cells = dict(judged.cells)
    for each in left_out:
        for rule in (rule for hcall, rule in judged.cells if hcall == each.hcall):
            cell = cells[each.hcall, rule]
            said = f"on CPU {each.cpu}: {each.reason}"
            if cell.state is State.HELD and each.meant:
                cells[each.hcall, rule] = _saying(cell, f"not applicable {said}")
            elif cell.state in (State.HELD, State.UNFINISHED) and not each.meant:
                state, reason = State.UNFINISHED, f"not asked {said}"
                cells[each.hcall, rule] = replace(cell, state=state, reason=reason)
    return replace(judged, cells=cells)


def _saying(cell: Cell, reason: str) -> Cell:
    return replace(cell, reason=f"{cell.reason}; {reason}" if cell.reason else reason)


def _named(profile: Profile, judged: Judgement) -> Judgement:
    """Return ``judged`` with its findings saying how the hcall was named, and by whom served."""
    cells = {
        key: replace(
            cell, findings=tuple(_told(profile, judged.server, each) for each in cell.findings)
        )
        for key, cell in judged.cells.items()
    }
    return replace(judged, cells=cells)


def _told(profile: Profile, server: str, finding: Finding) -> Finding:
    parts = [f"served by {server}", *([finding.evidence] if finding.evidence else [])]
    if profile.selector == "immediate":
        return replace(finding, evidence="; ".join(parts))
    values = ", ".join(f"{a:#x}" if a == b else f"{a:#x}-{b:#x}" for a, b in finding.immediates[:4])
    return replace(finding, immediates=((0, 0),), evidence="; ".join([f"x0 = {values}", *parts]))
