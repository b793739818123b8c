# SPDX-License-Identifier: Apache-2.0
"""What our own payload says when it starts, and when it dies of an exception of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hilagent.build import payload
from hilagent.link import wire
from hilagent.link.wire import Op
from tests.firmware.emulated import Machine, break_setup, u32

_VIRT = ("-M", "virt,virtualization=on", "-smp", "4", "-cpu", "cortex-a57")
_ELSEWHERE = 0x48000000


class _Heard(Machine):
    """A machine of which every byte is kept."""

    raw = b""

    def _take(self, data: bytes) -> None:
        self.raw += data
        super()._take(data)


def payloads(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, description, what the console said) of a start, and of deaths on two CPUs."""
    built = payload.build_payload()
    said = "hilagent's payload, qemu virt, smp 4"
    for cpu in (0, 2):
        with _Heard(folder, *_VIRT, "-kernel", built.image) as virt:
            hello = virt.hello()
            virt.must(Op.CPU_START, u32(cpu))
            if not cpu:
                yield "payload-start", f"{said}, its start, with packets", virt.raw
            break_setup(virt, hello, built.elf)
            start = len(virt.raw)
            if cpu:
                virt.post(Op.CPU_STOP, u32(cpu))
            else:
                virt.post(Op.BOOT, wire.BOOT.pack(addr=_ELSEWHERE))
            virt.event(wire.Event.DYING)
            virt.hello()
            what = f"{said}, an undefined instruction in its own el2_setup on CPU {cpu}"
            yield f"payload-dies-{cpu}", what, virt.raw[max(0, start - 300) :]
