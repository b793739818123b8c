# SPDX-License-Identifier: Apache-2.0
"""The laboratory of a scripted payload: what its jobs do, and the results they leave."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hilagent.link import wire
from hilagent.payload import sysregs
from hilagent.result import Sig
from hilagent.testing.behaviour import Behaviour, Issued, is_pure

_MASK = (1 << 64) - 1
_OTHERS = wire.MAX_SIGS - 1
AREA, AREA_SIZE = 0x4100_0000, 0x2_0000
SLOT = 0x4300_0000
CATCH_AT, CATCH_SIZE = 0x1000, 0x800
NO_SUCH_REGISTER = {"faulted": 1, "vector": 4, "el": 2, "esr": 0x0200_0000, "spsr": 0x3C9}

Function = Callable[..., int]


def front_of(cpu: int) -> int:
    """Return VBAR_EL2 of a CPU while vectors are under test behind the payload's own."""
    return AREA + cpu * AREA_SIZE


def catch_of(cpu: int) -> int:
    """Return the address of a CPU's first catch table."""
    return front_of(cpu) + CATCH_AT


def pattern(seed: int, pass_no: int, index: int) -> int:
    """Return what register ``index`` holds (splitmix64, complemented in pass 1)."""
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    z ^= z >> 31
    return z ^ _MASK if pass_no & 1 else z


@dataclass(frozen=True)
class Work:
    """A job of ``wire.JOB``, unpacked."""

    fields: Mapping[str, int | tuple[int, ...]]

    def __getattr__(self, name: str) -> int:
        value = self.fields[name]
        assert isinstance(value, int)
        return value

    def listed(self, name: str, count: str = "") -> tuple[int, ...]:
        """Return an array of the job, as long as its count says."""
        values = self.fields[name]
        assert isinstance(values, tuple)
        return values[: getattr(self, count)] if count else values

    @property
    def pass_no(self) -> int:
        """The register pass; ``pass`` is no name in Python."""
        return self.__getattr__("pass")

    @property
    def vbar(self) -> int:
        """VBAR_EL2: of a DIRECT job, the table under test itself."""
        return SLOT if self.kind == wire.Job.DIRECT else front_of(self.cpu)

    def x(self, register: int) -> int:
        """Return what xN holds when the hvc is issued."""
        given = self.listed("x")
        if self.fixed_mask >> register & 1 or self.flags & wire.JobFlag.KEEP_PATTERN:
            return given[register]
        if register < 4 and self.catch_mask >> register & 1:
            return catch_of(self.cpu) + (register + 4 * (self.pass_no & 1)) * CATCH_SIZE
        return pattern(self.seed, self.pass_no, register)


def issuer(work: Work) -> Callable[[int], Issued]:
    """Return the hvc of an immediate as its behaviour sees it."""
    catch = 4 * (work.pass_no & 1) if work.catch_mask & 1 and not work.fixed_mask & 1 else None
    plain = Issued(
        imm=0,
        cpu=work.cpu,
        origin=work.origin,
        pass_no=work.pass_no,
        front=work.vbar,
        catch=catch,
        args=tuple(work.x(register) for register in range(4)),
        stack=bool(work.flags & wire.JobFlag.SP_USABLE),
    )
    stacks = work.listed("stack_imms", "stack_count")
    rest = plain[1:-1]
    return lambda imm: Issued(imm, *rest, plain.stack or imm in stacks)


def observer(work: Work, behaviour: Behaviour) -> Callable[[int], Sig | None]:
    """Return what one hvc of a job does, by its immediate; None is a hang."""
    issued, skipped = issuer(work), work.listed("skip_imms", "skip_count")
    not_issued = Sig(**{**_NOTHING, "seen": wire.Seen.NOT_ISSUED, "catch": 0xFF})  # type: ignore[arg-type]
    return lambda imm: not_issued if imm in skipped else behaviour(issued(imm))


_NOTHING: dict[str, int | tuple[int, ...]] = {
    name: (0,) * 8 if name == "args" else 0 for name, _, _ in wire.SIG.fields
}


def pack_sig(sig: Sig) -> bytes:
    """Return ``wire.SIG``."""
    return wire.SIG.pack(**vars(sig))


def frames(work: Work, sig: Sig, imm: int) -> bytes:
    """Return the pair of frames that agrees with a Sig."""
    x = [work.x(register) for register in range(31)]
    v = [pattern(work.seed, work.pass_no, 64 + half) for half in range(64)]
    sys = [pattern(work.seed, work.pass_no, 128 + n) for n in range(len(wire.SYSREGS))]
    sys[wire.SYSREGS.index("VBAR_EL2")] = work.vbar
    pc = 0x4200_0000 + imm * 16
    before = {"x": x, "v": v, "sys": sys, "pc": pc, "pstate": 0x3C0 | work.origin, "imm": imm}
    after = dict(before, pc=pc + 4 + sig.pc_off, pstate=before["pstate"] ^ sig.pstate_diff)  # type: ignore[operator]
    after["x"] = _x_after(x, sig)
    after["v"] = [h ^ _MASK if sig.v_changed >> n // 2 & 1 else h for n, h in enumerate(v)]
    after["sys"] = [s ^ _MASK if sig.sys_changed >> n & 1 else s for n, s in enumerate(sys)]
    after["seen"], after["esr"] = sig.seen, sig.esr
    return wire.FRAME.pack(**before) + wire.FRAME.pack(**after)  # type: ignore[arg-type]


def _x_after(x: list[int], sig: Sig) -> list[int]:
    out = [value ^ _MASK if sig.gpr_changed >> n & 1 else value for n, value in enumerate(x)]
    if sig.gpr_changed & 1:
        out[0] = sig.x0
    if sig.seen == wire.Seen.CALLED:
        out[1:3] = x[2:4]
    return out


@dataclass
class Sweep:
    """A whole sweep, worked out when it starts.

    Attributes:
        hang: index of the immediate that never comes home, or None.
        result: what the result area holds once it is done.
    """

    hang: int | None
    result: bytes


@dataclass
class _Swept:
    """What a sweep sees, whichever job it is."""

    hang: int | None
    sigs: list[Sig] = field(default_factory=list)
    runs: list[list[int]] = field(default_factory=list)
    pairs: list[bytes] = field(default_factory=list)


def sweep(work: Work, behaviour: Behaviour, job: int, vectors_crc: int, ticks: int) -> Sweep:
    """Do a SWEEP job."""
    see = _seen_before if is_pure(behaviour) else _see
    swept = see(behaviour, tuple(work.fields.items()))
    if swept.hang is not None:
        return Sweep(swept.hang, b"")
    return Sweep(None, _result(work, swept, job, vectors_crc, ticks))


def _see(behaviour: Behaviour, fields: tuple[tuple[str, int | tuple[int, ...]], ...]) -> _Swept:
    work = Work(dict(fields))
    sigs: list[Sig] = []
    index_of: dict[tuple[object, ...], int] = {}
    seen: dict[int, tuple[Sig, int]] = {}  # by identity: most immediates give the same object
    observe = observer(work, behaviour)
    runs: list[list[int]] = []
    pairs: list[bytes] = []
    by_x0 = bool(work.flags & wire.JobFlag.SWEEP_X0)
    for step in range(work.count):
        imm = work.first if by_x0 else work.first + step
        sig = observe(imm)
        if sig is None:
            return _Swept(step)
        known = seen.get(id(sig))
        index = known[1] if known else index_of.get(_key(sig))
        if index is None:
            index = index_of[_key(sig)] = min(len(sigs), _OTHERS)
            if len(sigs) < wire.MAX_SIGS:
                flags = sig.flags | (1 << 31 if index == _OTHERS else 0)
                first = step if by_x0 else imm
                sigs.append(Sig(**{**vars(sig), "first": first, "flags": flags}))
                pairs.append(frames(work, sig, imm))
        seen[id(sig)] = (sig, index)
        if runs and runs[-1][0] == index:
            runs[-1][1] += 1
        else:
            runs.append([index, 1])
    return _Swept(None, sigs, runs, pairs)


_seen_before = functools.lru_cache(maxsize=256)(_see)


def _key(sig: Sig) -> tuple[object, ...]:
    """What tells two signatures apart."""
    return tuple(value for name, value in vars(sig).items() if name not in ("first", "elr"))


def _result(work: Work, swept: _Swept, job: int, vectors_crc: int, ticks: int) -> bytes:
    sigs, runs, pairs = swept.sigs, swept.runs, swept.pairs
    crc = 0
    for index, length in runs:
        crc = zlib.crc32(bytes([index]) * length, crc)
    kept = runs[: wire.MAX_RUNS]
    head = {
        "magic": wire.SWEEP_MAGIC, "cpu": work.cpu, "origin": work.origin, "pass": work.pass_no,
        "first": work.first, "count": work.count, "done": work.count, "sigs": len(sigs),
        "runs": len(kept), "left_out": sum(length for _, length in runs[wire.MAX_RUNS :]),
        "crc": crc, "frames": len(pairs), "vectors_crc": vectors_crc, "job": job,
        "cnt_start": 1000, "cnt_end": 1000 + ticks, "seed": work.seed,
    }  # fmt: skip
    words = [index << 24 | length for index, length in kept]
    body = b"".join(map(pack_sig, sigs)) + struct.pack(f"<{len(words)}I", *words)
    area = wire.SWEEP_RESULT.pack(**head) + body
    return area.ljust(wire.FRAMES_OFFSET, b"\0") + b"".join(pairs)


def one_hvc(work: Work, behaviour: Behaviour) -> bytes | None:
    """Do an HVC or DIRECT job; None is a hang."""
    sig = observer(work, behaviour)(work.first)
    if sig is None:
        return None
    sig = Sig(**{**vars(sig), "first": work.first})
    return frames(work, sig, work.first) + pack_sig(sig)


@dataclass
class Registers:
    """System registers of a scripted board, by name; those that the client's table
    doesn't know fault as UNDEFINED."""

    values: dict[str, int] = field(
        default_factory=lambda: {"MIDR_EL1": 0x411FD070, "CURRENTEL": 8, "CNTFRQ_EL0": 62_500_000}
    )

    def do(self, work: Work) -> tuple[dict[str, int], bool]:
        """Do a SYSREG job: fields of ``wire.CALL_RESULT``, and whether it was fine."""
        names = {sysregs.encoding(name): name for name in sysregs.REGISTERS}
        name = names.get(work.addr & 0xFFFF)
        if name is None:
            return dict(NO_SUCH_REGISTER), False
        if work.addr >> 31 & 1:
            self.values[name] = work.listed("x")[0]
        return {"x0": self.values.get(name, 0), "el": 2}, True


def call(work: Work, functions: Mapping[int, Function]) -> tuple[dict[str, int], bool]:
    """Do a CALL job."""
    function = functions.get(work.addr)
    if function is None:
        fault = {"faulted": 1, "vector": 4, "el": work.el, "esr": 0x8600_0010}
        return fault | {"far": work.addr, "elr": work.addr, "spsr": 0x3C9}, False
    return {"x0": function(*work.listed("x")[:8]) & _MASK, "el": work.el}, True
