# SPDX-License-Identifier: Apache-2.0
"""The payload's structures as the plain data of this program."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hilagent import errors
from hilagent.link import packed, wire
from hilagent.result import CpuFacts, Exchange, Frame, Sig, SweepPass

from .channel import numbers

_V_REGISTERS = 32


def _offset(struct: packed.Struct, field: str) -> int:
    at = 0
    for name, kind, count in struct.fields:
        if name == field:
            return at
        at += count * {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "s32": 4}[kind]
    raise KeyError(field)


_FRAME_SYS, _FRAME_V = _offset(wire.FRAME, "sys"), _offset(wire.FRAME, "v")


@dataclass(frozen=True)
class Hello:
    """Who answered; the fields of ``wire.HELLO``. ``build_id`` is hex."""

    version: int
    max_body: int
    boot_id: int
    build_id: str
    cpus: int
    link_cpu: int
    cntfrq: int
    features: int
    image: int
    image_size: int
    dtb: int
    slot: int
    slot_size: int
    entry_el: int
    uart_kind: int
    uart_base: int
    psci_conduit: int
    scratch_size: int
    scratch: int
    uart_shift: int
    uart_width: int
    uart_fixed: int
    uart_big_endian: int

    @property
    def sve(self) -> bool:
        """Whether frames hold SVE state."""
        return bool(self.features & 1)

    @property
    def e2h_stuck(self) -> bool:
        """Whether HCR_EL2.E2H would not clear."""
        return bool(self.features & 2)

    @property
    def at_el1(self) -> bool:
        """Whether it runs at EL1 and answers HELLO and RESET only."""
        return bool(self.features & 4)


@dataclass(frozen=True)
class CallResult:
    """What a called function left: x0 to x30, and the exception level it ran at."""

    x: tuple[int, ...]
    el: int

    @property
    def x0(self) -> int:
        """The function's result."""
        return self.x[0]


def hello(body: bytes) -> Hello:
    """Return the head of a HELLO reply or BOOT event. Raises `errors.LinkError`."""
    _need("HELLO", body, wire.HELLO.size)
    raw_id = body[_offset(wire.HELLO, "build_id") :][:20]
    return Hello(build_id=raw_id.hex(), **numbers(wire.HELLO.unpack(body)))


def cpu_facts(body: bytes) -> CpuFacts:
    """Return a CPU_INFO reply."""
    _need("CPU_INFO", body, wire.CPU_INFO.size)
    fields = wire.CPU_INFO.unpack(body)
    plain = numbers(fields)
    plain.pop("state")
    return CpuFacts(
        ids=_named(wire.ID_REGS, fields["id"]), entry=_named(wire.ENTRY_REGS, fields["entry"]),
        **plain,
    )  # fmt: skip


def sig(raw: bytes) -> Sig:
    """Return one ``wire.SIG``."""
    fields = wire.SIG.unpack(raw)
    return Sig(args=_tuple(fields["args"]), **numbers(fields))


def frame(raw: bytes) -> Frame:
    """Return one ``wire.FRAME``."""
    fields = wire.FRAME.unpack(raw)
    plain = numbers(fields)
    del plain["reserved"]
    halves = _tuple(fields["v"])
    return Frame(
        x=_tuple(fields["x"]),
        sys=_named(wire.SYSREGS, fields["sys"]),
        v=tuple(halves[2 * n] | halves[2 * n + 1] << 64 for n in range(_V_REGISTERS)),
        **plain,
    )


def frame_sizes(judged: Sig, *, whole: bool) -> tuple[int, int]:
    """Return how much of the frames before and after tells what ``judged`` does not."""
    if whole or judged.v_changed:
        return wire.FRAME.size, wire.FRAME.size
    same = judged.seen in (wire.Seen.RETURNED, wire.Seen.CALLED) and not judged.sys_changed
    return _FRAME_V, _FRAME_SYS if same else _FRAME_V


def partial_exchange(before: bytes, after: bytes, judged: Sig) -> Exchange:
    """Return a pair of frames of which the ends were not fetched: ``v`` is then empty,
    and ``after.sys``, unchanged, is ``before.sys``."""
    if len(after) < _FRAME_V:
        after += before[len(after) : _FRAME_V]
    pair = [frame(raw.ljust(wire.FRAME.size, b"\0")) for raw in (before, after)]
    if len(before) < wire.FRAME.size:
        pair = [replace(each, v=()) for each in pair]
    return Exchange(pair[0], pair[1], judged)


@dataclass(frozen=True)
class SweepHead:
    """The fixed part of a sweep's result, and the size of the rest."""

    fields: Mapping[str, int]
    raw: bytes

    @property
    def rest_size(self) -> int:
        """Bytes of sigs and runs after it."""
        return self.fields["sigs"] * wire.SIG.size + self.fields["runs"] * 4


def sweep_head(raw: bytes) -> SweepHead:
    """Check and return a ``wire.SWEEP_RESULT``. Raises `errors.LinkError`."""
    _need("sweep result", raw, wire.SWEEP_RESULT.size)
    fields = numbers(wire.SWEEP_RESULT.unpack(raw))
    if fields["magic"] != wire.SWEEP_MAGIC:
        raise errors.LinkError(f"sweep result: magic {fields['magic']:#x}")
    if fields["sigs"] > wire.MAX_SIGS or fields["runs"] > wire.MAX_RUNS:
        raise errors.LinkError(f"sweep result: {fields['sigs']} sigs, {fields['runs']} runs")
    return SweepHead(fields, raw)


def sweep_pass(head: SweepHead, rest: bytes, *, swept: str) -> SweepPass:
    """Decode a whole sweep result and verify it. Raises `errors.LinkError`."""
    _need("sigs and runs", rest, head.rest_size)
    fields = head.fields
    sigs = tuple(
        sig(rest[at : at + wire.SIG.size])
        for at in range(0, fields["sigs"] * wire.SIG.size, wire.SIG.size)
    )
    words = memoryview(rest[fields["sigs"] * wire.SIG.size :][: fields["runs"] * 4])
    runs = [int.from_bytes(words[at : at + 4], "little") for at in range(0, len(words), 4)]
    first = fields["first"] if swept == "imm" else 0
    _verify(fields, runs)
    return SweepPass(
        vectors_crc=fields["vectors_crc"], job=fields["job"], crc_ok=_crc_agrees(fields, runs),
        cpu=fields["cpu"], origin=fields["origin"], pass_no=fields["pass"], first=first,
        count=fields["count"], seed=fields["seed"], sigs=sigs, runs=_placed(first, runs),
        left_out=fields["left_out"], ticks=fields["cnt_end"] - fields["cnt_start"], swept=swept,
    )  # fmt: skip


def _verify(fields: Mapping[str, int], runs: list[int]) -> None:
    covered = sum(run & 0xFFFFFF for run in runs) + fields["left_out"]
    if covered != fields["done"] or fields["done"] != fields["count"]:
        raise errors.LinkError(
            f"sweep result: runs cover {covered}, done {fields['done']} of {fields['count']}"
        )
    if any(run >> 24 >= fields["sigs"] for run in runs):
        raise errors.LinkError("sweep result: a run names a signature that is not there")


def _crc_agrees(fields: Mapping[str, int], runs: list[int]) -> bool:
    """Whether the runs give the CRC that was made while sweeping. It also covers what
    the runs had no room for: then it can't be checked."""
    crc = 0
    for run in runs:
        crc = zlib.crc32(bytes([run >> 24]) * (run & 0xFFFFFF), crc)
    return not fields["left_out"] and crc == fields["crc"]


def _placed(first: int, runs: list[int]) -> tuple[tuple[int, int, int], ...]:
    out, at = [], first
    for run in runs:
        out.append((at, run & 0xFFFFFF, run >> 24))
        at += run & 0xFFFFFF
    return tuple(out)


def _named(names: tuple[str, ...], values: int | tuple[int, ...]) -> dict[str, int]:
    return dict(zip(names, _tuple(values), strict=True))


def _tuple(values: int | tuple[int, ...]) -> tuple[int, ...]:
    return values if isinstance(values, tuple) else (values,)


def _need(what: str, raw: bytes, size: int) -> None:
    if len(raw) < size:
        raise errors.LinkError(f"{what}: {len(raw)} bytes instead of {size}")
