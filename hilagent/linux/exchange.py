# SPDX-License-Identifier: Apache-2.0
"""What the probe module observed on a running kernel: plain frozen data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hilagent.link.wire import SYSREGS
from hilagent.result import Exchange, Frame, SweepPass

from .wire import Conduit, Feature, Landed

_PSTATE = {"NZCV": (28, 0xF), "DAIF": (6, 0xF), "SPSel": (0, 1), "EL": (2, 3)}


@dataclass(frozen=True)
class Identity:
    """What the module and the kernel under it said of themselves.

    Attributes:
        module: the module's version.
        current_el: the kernel's; 2 with VHE.
        conduit: PSCI's, by device tree or ACPI.
        cpus: how many the kernel knows; ``online`` names those that run.
        refused: empty, or why the module issues no hvc here.
        stub_vectors: physical address of the hyp-stub's vectors, 0 while unknown.
        catch: physical addresses of the catch tables.
        lost_cpu: a CPU that never came back from an hvc, or None.
    """

    module: int
    release: str
    current_el: int
    conduit: Conduit
    features: Feature
    cpus: int
    online: tuple[int, ...]
    refused: str
    page_size: int
    stub_vectors: int
    catch: tuple[int, ...]
    lost_cpu: int | None

    @property
    def server(self) -> str:
        """Who serves EL2, as far as one can say without an hvc: ``vhe``, ``pkvm``,
        ``foreign``, or empty for the hyp-stub or KVM, which differ by CPU."""
        if self.current_el == 2:
            return "vhe"
        if self.conduit == Conduit.HVC:
            return "foreign"
        return "pkvm" if Feature.PROTECTED in self.features else ""


@dataclass(frozen=True)
class Landing:
    """A catch table was entered at EL2 (or, by mistake, at EL1).

    Attributes:
        kind: called (and returned), restarted, became the vectors, or a fault.
        catch: which table; see ``LiveExchange.caught``.
        reg: by `wire.LANDING_REGS`, before the table had changed anything.
    """

    kind: Landed
    catch: int
    count: int
    reg: Mapping[str, int]

    @property
    def el(self) -> int:
        """Exception level that it was entered at."""
        return self.reg["CurrentEL"] >> 2 & 3


@dataclass(frozen=True)
class LiveExchange:
    """One hvc on a running kernel, with evidence.

    Attributes:
        exchange: what the payload's exchanges are, for the same judges.
        unseen: names of `SYSREGS` that this pass can't observe; zero in its frames.
        landing: what a call, restart or set of the vectors found; None without one.
    """

    cpu: int
    pass_no: int
    exchange: Exchange
    unseen: frozenset[str]
    landing: Landing | None

    @property
    def before(self) -> dict[str, int]:
        """Everything observed of what went in: x0-x30, SP, PC, v0-v31, PSTATE, system registers."""
        return dict(self._registers(self.exchange.before))

    @property
    def after(self) -> dict[str, int]:
        """The same, of what came home."""
        return dict(self._registers(self.exchange.after))

    @property
    def changed(self) -> frozenset[str]:
        """Names of what differs; PC is not among them (see ``exchange.sig.pc_off``)."""
        before, after = self.before, self.after
        return frozenset(name for name in before if before[name] != after[name]) - {"PC"}

    @property
    def caught(self) -> int | None:
        """Number of the register that led to the landing; None without one."""
        return self.exchange.sig.catch % 4 if self.landing else None

    def _registers(self, frame: Frame) -> Iterator[tuple[str, int]]:
        yield from ((f"x{number}", value) for number, value in enumerate(frame.x))
        yield from (("SP", frame.sp), ("PC", frame.pc))
        for name, (shift, mask) in _PSTATE.items():
            yield name, frame.pstate >> shift & mask
        yield from ((f"v{number}", value) for number, value in enumerate(frame.v))
        yield from ((name, frame.sys[name]) for name in SYSREGS if name not in self.unseen)


@dataclass(frozen=True)
class LiveSweep:
    """One pass over a range on a running kernel; ``unseen`` as in `LiveExchange`."""

    swept: SweepPass
    unseen: frozenset[str]
