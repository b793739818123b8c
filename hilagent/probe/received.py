# SPDX-License-Identifier: Apache-2.0
"""The state that a kernel was entered in, by what that kernel says of it.

It sees less than the payload does, and says it in its log: arch/arm64/kernel/setup.c,
smp.c and kvm/arm.c of 6.12. The rules that both can judge have the same ids as in
:mod:`hilagent.probe.entry`. An MMU that is on with the D-cache off it doesn't notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hilagent.linux.facts import Entry, entry_of, kvm_of

from . import ruling
from .arrival import FIRMWARE, NO_HVC, blamed
from .ruling import HELD, Answer, Breach, Rule, Ruling, State, broken, unseen

_ARGUMENTS = re.compile(r"WARNING: x1-x3 nonzero in violation of boot protocol")
_VALUE = re.compile(r"\bx([123]): ([0-9a-f]{16})\b")
_MMU = re.compile(r"Booted with MMU enabled!")
_MISALIGNED = re.compile(r"Kernel image misaligned at boot")
_NO_TREE = re.compile(r"invalid device tree blob at physical address")
_CPUS = re.compile(r"Brought up \d+ nodes?, (\d+) CPUs?")


@dataclass(frozen=True)
class Received:
    """One kernel that was entered.

    Attributes:
        dmesg: its log, whole.
        server, sender_el: as of :class:`hilagent.probe.arrival.Arrival`.
        cpus: how many CPUs it must have brought up; 0 for any number.
        kvm: how it must use EL2 (`hilagent.linux.facts.Kvm`); empty for any.
        entered: the EL, where it is known by other means than the log.
    """

    dmesg: str
    server: str = FIRMWARE
    sender_el: int = 0
    cpus: int = 0
    kvm: str = ""
    entered: int = 0

    @property
    def el(self) -> int:
        """The EL that its CPUs started at; 0 unknown."""
        return self.entered or {Entry.EL2: 2, Entry.EL1: 1}.get(self._entry, 0)

    @property
    def mixed(self) -> bool:
        """Whether its CPUs started at different ELs."""
        return self._entry is Entry.MIXED

    @property
    def _entry(self) -> Entry:
        return entry_of(self.dmesg.splitlines())


def judge(received: Received) -> tuple[Ruling[Received], ...]:
    """Return what became of every rule, in the order of :data:`RULES`."""
    name = blamed(received.server)
    served = "" if received.server in {FIRMWARE, NO_HVC} else received.server
    return ruling.judge(RULES, received, blame=lambda cpus: name, served=served)


def _el(received: Received) -> Answer:
    if received.el == 2:
        return HELD
    if not received.el:
        return unseen("its log doesn't say at which EL its CPUs started")
    if received.server != FIRMWARE and received.sender_el == 2:
        return broken("CurrentEL", "EL2, as the sending kernel was entered", "EL1")
    return Answer(State.PRECONDITION, "started at EL1, and nobody said that EL2 is ours")


def _same_el(received: Received) -> Answer:
    if received.mixed:
        return broken("CurrentEL", "every CPU at the same EL", "CPUs in inconsistent modes", ())
    return HELD if received.el else unseen("its log doesn't say it")


def _says(pattern: re.Pattern[str], what: str, expected: str) -> Callable[[Received], Answer]:
    def judged(received: Received) -> Answer:
        found = pattern.search(received.dmesg)
        return broken(what, expected, f"it says: {found.group()}") if found else HELD

    return judged


def _argument(number: int) -> Callable[[Received], Answer]:
    def judged(received: Received) -> Answer:
        start = _ARGUMENTS.search(received.dmesg)
        if start is None:
            return HELD
        values = dict(_VALUE.findall(received.dmesg[start.end() : start.end() + 400]))
        value = values.get(str(number))
        if value is None:
            return unseen("it warns of x1-x3, and their values are lost")
        return broken(f"x{number}", "0", f"{int(value, 16):#x}") if int(value, 16) else HELD

    return judged


def _cpus(received: Received) -> Answer:
    if not received.cpus:
        return Answer(State.NOT_APPLICABLE, "any number of CPUs will do")
    found = _CPUS.search(received.dmesg)
    if found is None:
        return unseen("its log doesn't say how many CPUs it brought up")
    if int(found[1]) == received.cpus:
        return HELD
    missing = f"{found[1]} CPU{'s' if found[1] != '1' else ''}"
    return Answer(
        State.BROKEN, breaches=(Breach("CPUs", f"{received.cpus} CPUs back", missing, ()),)
    )


def _kvm(received: Received) -> Answer:
    if not received.kvm:
        return Answer(State.NOT_APPLICABLE, "any use of EL2 will do")
    mode, said = kvm_of(received.dmesg.splitlines())
    if mode.value == received.kvm:
        return HELD
    return broken("KVM", received.kvm, f"{mode.value}: {said}" if said else mode.value)


_SETUP, _SMP, _HEAD = (f"arch/arm64/kernel/{name}" for name in ("setup.c", "smp.c", "head.S"))

RULES: tuple[Rule[Received], ...] = (
    Rule("entry-el", "at EL2, where the sending kernel was; or at EL1", _SMP, _el),
    Rule("entry-el-same", "every CPU at the same exception level", _SMP, _same_el),
    Rule("entry-mmu", "the MMU is off", _SETUP, _says(_MMU, "SCTLR.M", "off")),
    Rule("entry-dtb", "x0: a device tree", _SETUP, _says(_NO_TREE, "x0", "a device tree")),
    Rule("entry-x1", "x1 is 0", _SETUP, _argument(1)),
    Rule("entry-x2", "x2 is 0", _SETUP, _argument(2)),
    Rule("entry-x3", "x3 is 0", _SETUP, _argument(3)),
    Rule("entry-base", "image on its boundary", _SETUP, _says(_MISALIGNED, "image", "aligned")),
    Rule("restart-cpus", "every CPU came back", "kernel/smp.c", _cpus),
    Rule("restart-kvm", "EL2 is used as before", "arch/arm64/kvm/arm.c", _kvm),
)
