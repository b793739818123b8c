# SPDX-License-Identifier: Apache-2.0
"""One soft restart: who sends, which code serves it, who receives, and how it ended.

Which code serves a restart is decided in arch/arm64/kernel/machine_kexec.c of 6.12,
and not by who asks for it: a normal kexec relocates, with a *copy* of the stub's
vectors (mm/trans_pgd-asm.S) put in place first; a crash kernel lies in its place
already (``IND_DONE``) and goes by ``cpu_soft_restart`` against whatever owns
VBAR_EL2. A kernel at EL2 (VHE), and one that was entered at EL1, issue no hvc.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hilagent.abi import Profile
from hilagent.result import Verdict, worst

from .arrival import NO_HVC
from .lpi import Interrupts


class Kind(enum.Enum):
    """How a restart is asked for."""

    FILE = "kexec-file"
    LOAD = "kexec-load"
    CRASH = "crash"


class Receiver(enum.Enum):
    """What is started."""

    KERNEL = "kernel"
    PAYLOAD = "payload"


@dataclass(frozen=True)
class Sender:
    """The kernel that restarts.

    Attributes:
        mode: how it uses EL2, by its own log: a value of `hilagent.linux.facts.Kvm`.
        el: what it said that all its CPUs started at; 0 if it didn't.
        run_id: of its boot.
        servers: who served hcalls on each CPU just before it, by their answers; empty
            where nobody asked.
    """

    kernel: str
    mode: str
    el: int = 0
    run_id: str = ""
    profile: Profile | None = None
    interrupts: Interrupts = field(default_factory=Interrupts)
    servers: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Served:
    """Which code serves a restart.

    Attributes:
        refused: why the kernel takes no such image; ``never``: why it isn't asked.
    """

    server: str
    reason: str
    refused: str = ""
    never: str = ""


@dataclass(frozen=True)
class Leg:
    """One restart as it was meant.

    Attributes:
        to: what was started, by name; ``run_id``: that it was told to prove.
        cpus: how many CPUs a kernel must bring up; 0 for any number.
        kvm: how it must use EL2; empty for any.
        image: where it was loaded (first and last byte), where known.
        number: in a chain, from 1.
    """

    kind: Kind
    sender: Sender
    receiver: Receiver
    to: str
    run_id: str = ""
    cpus: int = 0
    kvm: str = ""
    image: tuple[int, int] | None = None
    number: int = 1

    @property
    def served(self) -> Served:
        """Which code serves it."""
        return served_by(self.kind, self.sender.mode, self.sender.el)

    @property
    def asks(self) -> bool:
        """Whether its server is whatever owns VBAR_EL2, which can be asked beforehand."""
        return self.kind is Kind.CRASH and self.served.server != NO_HVC

    @property
    def misled(self) -> str:
        """Which CPUs are served by another server than is meant, by their answers; or empty."""
        other = {cpu: who for cpu, who in self.sender.servers.items() if who != self.served.server}
        if not self.asks or not other:
            return ""
        said = ", ".join(f"CPU {cpu} by {who}" for cpu, who in other.items())
        return f"hcalls are served on {said}; {self.served.server} was expected"

    def __str__(self) -> str:
        mode = f" ({self.sender.mode})" if self.sender.mode else ""
        return f"{self.kind.value} from {self.sender.kernel}{mode} into {self.to}"


_HVC_LESS = {
    "vhe": "the kernel runs at EL2 (VHE) and branches there itself",
    "el1": "the kernel was entered at EL1, where it branches",
}
_PROTECTED = "protected KVM owns EL2 and gives it to nobody"


def served_by(kind: Kind, mode: str, el: int = 2) -> Served:
    """Return which server of the hcall ABI a restart reaches, and why.

    Args:
        mode: how the kernel uses EL2.
        el: what its CPUs started at; 0 counts as 2.
    """
    if el == 1:
        return Served(NO_HVC, _HVC_LESS["el1"])
    if mode == "vhe":
        return Served(NO_HVC, _HVC_LESS["vhe"])
    if mode == "protected" and kind is Kind.CRASH:
        return Served("kvm", _PROTECTED, never="the crash image is taken, the hvc is refused")
    if mode == "protected":
        return Served("trans-pgd", _PROTECTED, refused=_PROTECTED)
    if kind is not Kind.CRASH:
        return Served("trans-pgd", "a normal kexec relocates with a copy of the stub's vectors")
    if mode in {"nvhe", "hvhe"}:
        return Served("kvm", "a crash leaves KVM's vectors in place: cpu_soft_restart meets them")
    return Served("hyp-stub", "KVM owns nothing: cpu_soft_restart meets the hyp-stub")


@dataclass(frozen=True)
class Times:
    """Seconds since the restart was asked for; None where it was not seen."""

    left_s: float | None = None
    first_s: float | None = None
    ready_s: float | None = None


@dataclass(frozen=True)
class Row:
    """A line of the report's table, so that nobody believes more was tested than was."""

    way: str
    sender: str
    mode: str
    receiver: str
    server: str
    why: str
    seen: str = ""
    el: str = ""
    times: Times = field(default_factory=Times)
    count: int = 0
    verdict: str = ""


def table(sender: Sender, receivers: tuple[Receiver, ...] = tuple(Receiver)) -> tuple[Row, ...]:
    """Return every way of restarting ``sender``, with who serves it; nothing was done yet."""
    return tuple(
        Row(
            kind.value, sender.kernel, sender.mode, receiver.value, served.server,
            served.never or served.refused or served.reason,
            verdict="not applicable" if served.refused or served.never else "",
        )
        for kind in Kind
        for receiver in receivers
        for served in (served_by(kind, sender.mode, sender.el),)
    )  # fmt: skip


def summarise(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return one line for each way, sender and receiver: counts added, the worst verdict."""
    out: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = (row.way, row.sender, row.mode, row.receiver)
        out[key] = _joined(out[key], row) if key in out else row
    return tuple(out.values())


def _joined(one: Row, two: Row) -> Row:
    verdicts = [Verdict(each.verdict) for each in (one, two) if _is_verdict(each.verdict)]
    return replace(
        two,
        seen=_both(one.seen, two.seen),
        el=_both(one.el, two.el),
        count=one.count + two.count,
        verdict=worst(verdicts).value if verdicts else two.verdict,
    )


def _is_verdict(text: str) -> bool:
    return text in {verdict.value for verdict in Verdict}


def _both(one: str, two: str) -> str:
    """Return what was seen, each of it once."""
    return ", ".join(dict.fromkeys(part for part in (*one.split(", "), two) if part))
