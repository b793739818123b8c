# SPDX-License-Identifier: Apache-2.0
"""The probe module's end of the wire, in Python: takes records byte by byte, as the device does."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hilagent.clock import Deadline
from hilagent.link.wire import FRAME, SIG, Seen
from hilagent.linux import probe, wire
from hilagent.linux.records import Record, packed

RELEASE = b"6.12.117-hilagent"
HOME = 0xFFFF_8000_7895_0044
CATCH = (0x4780_0000, 0x4780_1000, 0x4790_0000, 0x4790_1000)
HCALL_ERROR = 0xBADCA11
NOT_SUPPORTED = (1 << 64) - 1

Fields = dict[str, Any]
Answer = Callable[[Fields], tuple[int, bytes]]


@dataclass
class Done:
    """How a command ended."""

    status: int = 0
    out: bytes = b""
    err: bytes = b""


@dataclass
class FakeModule:
    """Runs the probe's command against the module's end of the wire.

    Attributes:
        answers: by operation: status and body for a request's fields; others get ENOSYS.
        bend: what happens to the bytes on their way back.
        asked: the fields of every request, in order.
    """

    answers: dict[int, Answer] = field(default_factory=dict)
    bend: Callable[[bytes], bytes] = bytes
    ended: Done | None = None
    symbols: bytes = b""
    asked: list[Fields] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", deadline: Deadline) -> Done:
        """Take a command as an SSH connection does."""
        assert deadline.left_s() > 0
        if tuple(argv) != probe.ARGV:
            return Done(out=self.symbols)
        return self.ended or Done(out=self.bend(self.speak(stdin)))

    def speak(self, raw: bytes) -> bytes:
        """Return the replies to ``raw``; after a record that is none, that is the last."""
        out, at = b"", 0
        while len(raw) - at >= wire.HEAD.size:
            head = wire.HEAD.unpack(raw, at)
            size = number(head["size"])
            body = raw[at + wire.HEAD.size :][:size]
            crc = zlib.crc32(body, zlib.crc32(raw[at : at + wire.HEAD.size - 4]))
            if head["magic"] != wire.MAGIC or (len(body) == size and crc != head["crc"]):
                return out + packed(Record(0, 0, -74, b"a damaged record: the rest is not read"))
            if len(body) < size:
                break
            at += wire.HEAD.size + size
            out += self._answer(number(head["op"]), number(head["seq"]), body)
        return out

    def _answer(self, op: int, seq: int, body: bytes) -> bytes:
        fields: Fields = dict(wire.REQUEST.unpack(body)) if body else {}
        self.asked.append({"op": op, **fields})
        answer = self.answers.get(op) or refused(-38, "no such operation")
        status, reply = answer(fields)
        return packed(Record(op, seq, status, reply))


def number(value: int | tuple[int, ...]) -> int:
    """Return a field that is one number."""
    assert isinstance(value, int)
    return value


def identity(**fields: int) -> Answer:
    """A kernel at EL1 with two CPUs, the conduit smc; ``fields`` are otherwise."""
    plain: Fields = {
        "module": 1, "current_el": 1, "conduit": wire.Conduit.SMC, "features": wire.Feature.KVM,
        "cpus": 4, "page_size": 4096, "lost_cpu": wire.ANY_CPU, "online": (0b101,),
        "catch": CATCH, "release": tuple(RELEASE),
    }  # fmt: skip
    reason = b"the kernel runs at EL2" if fields.get("refused") else b""
    return lambda _: (0, wire.IDENTITY.pack(**(plain | {"reason": tuple(reason)} | fields)))


def refused(status: int, reason: str) -> Answer:
    """Refuses everything."""
    return lambda _: (status, reason.encode())


def frame(x: Sequence[int], **fields: int | tuple[int, ...]) -> bytes:
    """A register file; ``sys`` and ``v`` may be given, like all its fields."""
    plain: Fields = {"pc": HOME, "pstate": 0x3C5, "sp": 0x5AA5_0000, "seen": Seen.RETURNED}
    return FRAME.pack(**(plain | {"x": tuple(x)} | fields))


def exchange(
    x0: int | None = None, *, changed: dict[int, int] | None = None, landing: bytes = b"",
    unseen: int = 0, **sig: int | tuple[int, ...],
) -> Answer:  # fmt: skip
    """Serves every hvc: x0, and what else, as given."""

    def answer(request: Fields) -> tuple[int, bytes]:
        before = [0x1000 + register for register in range(31)]
        after = list(before)
        for register, value in (changed or {}).items():
            after[register] = value
        after[0] = before[0] if x0 is None else x0
        mask = sum(1 << n for n in range(31) if before[n] != after[n])
        head = wire.EXCHANGE.pack(cpu=request["cpu"], **{"pass": request["pass"]}, unseen=unseen)
        seen: Fields = {"seen": Seen.RETURNED, "gpr_changed": mask, "first": request["first"]}
        signature = SIG.pack(**(seen | dict(sig)))
        evidence = frame(before) + frame(after)
        return 0, head + signature + evidence + (landing or bytes(wire.LANDING.size))

    return answer


def landing(kind: wire.Landed, *, catch: int = 0, **registers: int) -> bytes:
    """A catch table's dump, entered at EL2 unless ``CurrentEL`` is given."""
    named = {"CurrentEL": 8, **registers}
    values = tuple(named.get(name, 0) for name in wire.LANDING_REGS)
    return wire.LANDING.pack(kind=kind, catch=catch, count=1, reg=values)


def sweep(*runs: tuple[int, int], sigs: int = 1, frames: int = 1, **fields: int) -> Answer:
    """Serves a sweep: ``runs`` are (length, signature)."""
    indices = b"".join(bytes([index]) * length for length, index in runs)

    def answer(request: Fields) -> tuple[int, bytes]:
        plain: Fields = {
            "cpu": request["cpu"], "pass": request["pass"], "first": request["first"],
            "count": request["count"], "done": len(indices), "sigs": sigs, "runs": len(runs),
            "frames": frames, "crc": zlib.crc32(indices), "cnt_end": 1000, "unseen": 1 << 21,
        }  # fmt: skip
        body = wire.SWEEP.pack(**(plain | fields))
        body += b"".join(SIG.pack(seen=Seen.RETURNED, x0=n) for n in range(sigs))
        body += b"".join((index << 24 | length).to_bytes(4, "little") for length, index in runs)
        return 0, body + (frame(range(31)) * 2) * frames

    return answer
