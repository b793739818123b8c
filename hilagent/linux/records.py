# SPDX-License-Identifier: Apache-2.0
"""Records of `wire` as bytes: requests written, replies checked and taken apart. Pure."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hilagent import errors
from hilagent.link.wire import FRAME, SIG, SYSREGS, Origin
from hilagent.payload import channel, facts
from hilagent.result import Exchange
from hilagent.text import scrub_line

from .exchange import Identity, Landing, LiveExchange, LiveSweep
from .wire import (
    ANY_CPU,
    EXCHANGE,
    HEAD,
    IDENTITY,
    LANDING,
    LANDING_REGS,
    MAGIC,
    SWEEP,
    VERSION,
    Conduit,
    Feature,
    Landed,
)

_CRC = HEAD.size - 4
_EVIDENCE = SIG.size + 2 * FRAME.size
_BITS = 64


@dataclass(frozen=True)
class Record:
    """One record; ``status`` is 0 in requests, -errno in a refusal."""

    op: int
    seq: int
    status: int
    body: bytes

    @property
    def reason(self) -> str:
        """A refusal's text, scrubbed; empty for what was done."""
        return scrub_line(self.body) if self.status else ""


def packed(record: Record) -> bytes:
    """Return the record as it is written to the device."""
    head = HEAD.pack(
        magic=MAGIC, version=VERSION, op=record.op, seq=record.seq, status=record.status,
        size=len(record.body), crc=0,
    )[:_CRC]  # fmt: skip
    crc = zlib.crc32(record.body, zlib.crc32(head))
    return head + crc.to_bytes(4, "little") + record.body


def replies(raw: bytes, asked: Sequence[Record]) -> list[Record]:
    """Return the replies to ``asked``, one each in their order.

    Raises `errors.LinkError` for anything else: truncated, damaged, of another
    request, or followed by more.
    """
    out: list[Record] = []
    at = 0
    for record in asked:
        reply = _record(raw, at, len(out))
        at += HEAD.size + len(reply.body)
        if (reply.op, reply.seq) != (record.op, record.seq):
            raise errors.LinkError(
                f"the probe module answered request {reply.seq}, not {record.seq}: "
                + (reply.reason or "its reply is of another one")
            )
        out.append(reply)
    if at != len(raw):
        raise errors.LinkError(f"{len(raw) - at} bytes after the probe module's last reply")
    return out


def _record(raw: bytes, at: int, number: int) -> Record:
    if len(raw) - at < HEAD.size:
        raise errors.LinkError(f"the probe module's reply {number} is cut short")
    fields = channel.numbers(HEAD.unpack(raw, at))
    if fields["magic"] != MAGIC or fields["version"] != VERSION:
        raise errors.LinkError(
            f"the probe module's reply {number} is none: {fields['magic']:#x}, "
            f"version {fields['version']}",
            hint="the module on the board may be another version than this hilagent",
        )
    body = raw[at + HEAD.size :][: fields["size"]]
    if len(body) != fields["size"]:
        raise errors.LinkError(f"the probe module's reply {number} is cut short")
    if zlib.crc32(body, zlib.crc32(raw[at : at + _CRC])) != fields["crc"]:
        raise errors.LinkError(f"the probe module's reply {number} is damaged: its CRC is wrong")
    return Record(fields["op"], fields["seq"], fields["status"], body)


def identity(record: Record) -> Identity:
    """Return the answer to IDENTIFY. Raises `errors.LinkError` for a wrong size."""
    raw = _sized(record, IDENTITY.size)
    fields = IDENTITY.unpack(raw)
    plain = channel.numbers(fields)
    online = fields["online"]
    assert isinstance(online, tuple)
    return Identity(
        module=plain["module"],
        release=_text(fields["release"]),
        current_el=plain["current_el"],
        conduit=Conduit(plain["conduit"]) if plain["conduit"] in set(Conduit) else Conduit.UNKNOWN,
        features=Feature(plain["features"]),
        cpus=plain["cpus"],
        online=tuple(
            word * _BITS + bit
            for word, value in enumerate(online)
            for bit in range(_BITS)
            if value >> bit & 1
        ),
        refused=_text(fields["reason"]) if plain["refused"] else "",
        page_size=plain["page_size"],
        stub_vectors=plain["stub_vectors"],
        catch=_tuple(fields["catch"]),
        lost_cpu=None if plain["lost_cpu"] == ANY_CPU else plain["lost_cpu"],
    )


def exchange(record: Record) -> LiveExchange:
    """Return the answer to HVC. Raises `errors.LinkError` for a wrong size."""
    raw = _sized(record, EXCHANGE.size + _EVIDENCE + LANDING.size)
    fields = channel.numbers(EXCHANGE.unpack(raw))
    at = EXCHANGE.size
    return LiveExchange(
        cpu=fields["cpu"],
        pass_no=fields["pass"],
        exchange=_pair(raw, at + SIG.size, raw[at : at + SIG.size]),
        unseen=_names(fields["unseen"]),
        landing=_landing(raw[at + _EVIDENCE :]),
    )


def sweep(record: Record, *, swept: str) -> LiveSweep:
    """Return the answer to SWEEP. Raises `errors.LinkError` for one that is not whole."""
    raw = record.body
    if len(raw) < SWEEP.size:
        raise errors.LinkError(f"a sweep of {len(raw)} bytes")
    fields = channel.numbers(SWEEP.unpack(raw))
    lists = fields["sigs"] * SIG.size + fields["runs"] * 4
    _sized(record, SWEEP.size + lists + fields["frames"] * 2 * FRAME.size)
    if fields["frames"] > fields["sigs"]:
        raise errors.LinkError("a sweep with more frames than signatures")
    head = facts.SweepHead({**fields, "origin": Origin.EL1H, "vectors_crc": 0, "job": 0}, b"")
    done = facts.sweep_pass(head, raw[SWEEP.size :], swept=swept)
    frames = {}
    for index in range(fields["frames"]):
        at = SWEEP.size + lists + index * 2 * FRAME.size
        sig = raw[SWEEP.size + index * SIG.size :][: SIG.size]
        frames[index] = _pair(raw, at, sig)
    return LiveSweep(replace(done, frames=frames), _names(fields["unseen"]))


def refusal(record: Record, request: str) -> errors.HilagentError:
    """Return the error that a negative status stands for."""
    what = f"{request}: {record.reason or os.strerror(-record.status)}"
    kinds = {
        "EINVAL": errors.AgentBug, "ENOSYS": errors.AgentBug, "EBADMSG": errors.LinkError,
        "ETIMEDOUT": errors.TargetHang, "EUCLEAN": errors.TargetCrash, "EIO": errors.LabError,
        "ENXIO": errors.PreconditionError,
    }  # fmt: skip
    kind = kinds.get(LINUX_ERRNO.get(-record.status, ""), errors.Unsupported)
    hint = "reset the board" if kind is errors.LabError else ""
    return kind(what, hint=hint)


LINUX_ERRNO = {
    1: "EPERM", 5: "EIO", 6: "ENXIO", 22: "EINVAL", 38: "ENOSYS", 61: "ENODATA", 74: "EBADMSG",
    95: "EOPNOTSUPP", 110: "ETIMEDOUT", 117: "EUCLEAN",
}  # fmt: skip
"""The board's numbers (asm-generic/errno.h), whatever this host's are."""


def _pair(raw: bytes, at: int, sig: bytes) -> Exchange:
    before, after = raw[at : at + FRAME.size], raw[at + FRAME.size :][: FRAME.size]
    return Exchange(facts.frame(before), facts.frame(after), facts.sig(sig))


def _landing(raw: bytes) -> Landing | None:
    fields = LANDING.unpack(raw)
    plain = channel.numbers(fields)
    if plain["kind"] == Landed.NO:
        return None
    if plain["kind"] not in set(Landed):
        raise errors.LinkError(f"a landing of kind {plain['kind']}")
    registers = dict(zip(LANDING_REGS, _tuple(fields["reg"]), strict=True))
    return Landing(Landed(plain["kind"]), plain["catch"], plain["count"], registers)


def _names(mask: int) -> frozenset[str]:
    return frozenset(name for bit, name in enumerate(SYSREGS) if mask >> bit & 1)


def _sized(record: Record, size: int) -> bytes:
    if len(record.body) != size:
        raise errors.LinkError(
            f"the probe module's reply has {len(record.body)} bytes instead of {size}",
            hint="the module on the board may be another version than this hilagent",
        )
    return record.body


def _text(characters: int | tuple[int, ...]) -> str:
    return scrub_line(bytes(_tuple(characters)).split(b"\0")[0])


def _tuple(values: int | tuple[int, ...]) -> tuple[int, ...]:
    return values if isinstance(values, tuple) else (values,)
