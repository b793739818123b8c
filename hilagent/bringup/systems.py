# SPDX-License-Identifier: Apache-2.0
"""The layers of Linux: SSH with a pinned key, what loads kernels, who serves hcalls."""

from __future__ import annotations

from hilagent.bringup.base import Seen, absent, bad, ok
from hilagent.bringup.patient import Patient
from hilagent.clock import Deadline
from hilagent.linux import kexec as loaders
from hilagent.linux.facts import Entry, Kvm
from hilagent.session.linux import Boot
from hilagent.text import scrub_line

_ASK_S = 20.0
_KERNEL = "patched"


def ssh(patient: Patient) -> Seen:
    """Does a Linux answer by SSH, with the host key that is pinned?"""
    board = patient.board
    if board.os is not None:
        patient.system = patient.bench.own_system()
    elif board.linux is None:
        return absent("its file has no 'linux' block: no kernels on this board")
    elif not _built(patient):
        return absent("no kernel is built to try it with: hilagent build kernel")
    else:
        patient.bench.prepare(Boot(_KERNEL))
        patient.system = patient.bench.linux(patient.uboot, Boot(_KERNEL)).system
    patient.facts = patient.system.facts(Deadline.after(_ASK_S))
    return ok(f"Linux {patient.facts.release} answers, its host key is the pinned one")


def _built(patient: Patient) -> bool:
    from hilagent.build.kernel import cached
    from hilagent.session.built import fragments

    return cached(_KERNEL, fragments(patient.board)) is not None


def kexec(patient: Patient) -> Seen:
    """What loads a kernel there?"""
    if patient.system is None:
        return absent("there is no Linux to ask")
    found = loaders.loader(patient.system.connection, Deadline.after(_ASK_S))
    return ok(scrub_line(found.program))


def el2(patient: Patient) -> Seen:
    """Who serves hcalls in that kernel?"""
    facts = patient.facts
    if facts is None:
        return absent("there is no Linux to ask")
    if facts.entry is Entry.EL1:
        hint = "firmware or boot loader gave EL2 away"
        return bad("the kernel was entered at EL1: nobody serves hcalls", hint)
    served = facts.kvm in {Kvm.NVHE, Kvm.HVHE, Kvm.PROTECTED, Kvm.VHE}
    who = f"KVM, {facts.kvm.value}" if served else "the hyp-stub"
    return ok(f"{who}; entered at {facts.entry.value}")
