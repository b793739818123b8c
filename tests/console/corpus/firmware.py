# SPDX-License-Identifier: Apache-2.0
"""U-Boot, UEFI and TF-A: what they die of, and what only sounds like it.

TF-A is none of Debian's that QEMU could start. It was built of Debian's source package,
``make PLAT=qemu DEBUG=1 BL33=u-boot.bin all fip``, with UART 0 as its crash console
(PLAT_QEMU_CRASH_UART_BASE), and once for each pair of ``TFA_DIES``; tfa-N.bin is bl1.bin,
filled up to 256 KiB, then fip.bin, filled up to 64 MiB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from .driver import Command, Scene

_STOP = (rb"Hit any key to stop autoboot", b"\r")
_UBOOT_DIES = {
    "md-far": "md.l 0xdead00000000 4",
    "md-nowhere": "md.b 0xf0000000f0000 10",
    "md-kernel": "md.q 0xffff800080000000 2",
    "mw-far": "mw.q 0xdead00000000 1",
    "mw-nowhere": "mw.b 0x8000000000 ff",
    "mw-itself": "mw.l 0x5f600000 0 200000",
    "cp-far": "cp.b 0x40000000 0xdead00000000 10",
    "crc32-far": "crc32 0xffffffff00000000 10",
    "cmp-far": "cmp.b 0xdead00000000 0x40000000 4",
    "go-0": "go 0x0",
    "go-far": "go 0xdead0000",
    "go-hvc": "mw.l 0x41000000 d4000002; go 0x41000000",
    "panic": "panic",
    "panic-said": 'panic "nothing works any more"',
    "fdt-far": "fdt addr 0xdead00000000; fdt print",
    "booti-far": "booti 0xdead00000000",
    "iminfo-far": "iminfo 0xdead00000000",
    "setexpr-far": "setexpr.l x *0xdead00000000",
    "gzip-bad": "unzip 0xdead00000000 0x41000000",
    "pci-bad": "md.l 0x3eff0000 4; md.l 0x50000000000 4",
}
_UBOOT_LIVES = {
    "help": "help",
    "printenv": "printenv",
    "version": "version",
    "bdinfo": "bdinfo",
    "echo-panic": "echo some call it Kernel panic - not syncing: nobody died",
    "echo-abort": "echo it says ### ERROR ### Please RESET the board ###",
    "setenv": 'setenv bootargs "console=ttyAMA0 panic=5 oops=panic" ; printenv bootargs',
    "unknown": "exception undefined",
    "booti-bad": "booti 0x40000000",
    "bootelf-bad": "bootelf 0x40000000",
    "no-network": "dhcp",
    "mmc-none": "load virtio 0 0x41000000 Image",
    "help-go": "help go; help panic; help reset",
    "coninfo": "coninfo; dm tree",
    "memory": "md.b 0x40000000 80; mw.l 0x41000000 12345678; md.l 0x41000000 4",
    "bootefi-none": "bootefi 0x41000000",
    "poweroff": "poweroff",
    "reset": "reset",
}


def uboot(firmware: Path, said: str) -> Iterator[Scene]:
    """Yield scenes at U-Boot's prompt: what it dies of, and what only sounds like it."""
    start = ("-M", "virt,virtualization=on", "-cpu", "cortex-a57", "-smp", "2", "-m", "512",
             "-nic", "none", "-bios", firmware)  # fmt: skip
    every = [*_UBOOT_DIES.items(), *_UBOOT_LIVES.items()]
    for number, (name, typed) in enumerate(every):
        command = Command(f"uboot-{name}", f"{said}, {typed.replace(chr(34), '')}", typed, 3.0)
        whole = ("uboot-boot", f"{said}, its start") if not number else None
        yield Scene(start, rb"=> $", [command], whole=whole, keys=_STOP)


_EFI_DIES = {
    "undefined": (0x00000000,),
    "breakpoint": (0xD4200000,),
    "read-far": (0xD2FBD5A1, 0xF9400020),  # x1 = 0xdead << 48; ldr x0, [x1]
    "write-null-page": (0xD2800001, 0xF9000021, 0xF9000021),
    "jump-far": (0xD2FBD5A1, 0xD61F0020),
    "unaligned-sp": (0x910007FF, 0xF94003E0),  # sp += 1; ldr x0, [sp]
    "svc": (0xD4000001,),
    "msr-el3": (0xD51E1100,),
}
_EFI_SAYS = {
    "map": "map -r", "ver": "ver", "help": "help -b", "memmap": "memmap -b",
    "echo": "echo they say ASSERT means nothing here", "drivers": "drivers", "none": "nothing.efi",
    "mem": "dmem 0x40000000 80", "set": "set", "reset": "reset -c",
}  # fmt: skip


def efi_program(code: tuple[int, ...]) -> bytes:
    """Return a PE32+ program for arm64 that does these instructions, and then returns."""
    text = b"".join(struct.pack("<I", word) for word in (*code, 0xD65F03C0))
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0xAA64, 1, 0, 0, 0, 240, 0x206)
    optional = struct.pack("<HBBIIIII", 0x20B, 1, 0, 512, 0, 0, 4096, 4096)
    optional += struct.pack("<QIIHHHHHHIIIIHH", 0x180000000, 4096, 512, 0, 0, 0, 0, 0, 0, 0,
                            8192, 512, 0, 10, 0)  # fmt: skip
    optional += struct.pack("<QQQQII", 1 << 20, 4096, 1 << 20, 4096, 0, 16) + bytes(128)
    section = struct.pack("<8sIIIIIIHHI", b".text", 512, 4096, 512, 512, 0, 0, 0, 0, 0x60000020)
    return (dos + coff + optional + section).ljust(512, b"\0") + text.ljust(512, b"\0")


def uefi(firmware: Path, said: str, disk: Path) -> Iterator[Scene]:
    """Yield scenes at the UEFI shell; programs are put into the folder ``disk``."""
    for name, code in _EFI_DIES.items():
        (disk / f"{name}.efi").write_bytes(efi_program(code))
    start = (
        *("-M", "virt,virtualization=on", "-cpu", "cortex-a57", "-smp", "1", "-m", "512"),
        *("-nic", "none", "-bios", firmware),
        *("-drive", f"if=none,id=disk,format=raw,file=fat:rw:{disk}"),
        *("-device", "virtio-blk-device,drive=disk"),
    )
    shell = rb"Shell> |FS0:.{1,20}> "
    for name in _EFI_DIES:
        command = Command(f"uefi-{name}", f"{said}, a program: {name}", f"fs0:{name}.efi", 5.0)
        yield Scene(start, shell, [command], keys=(rb"to skip", b"\x1b"), enter="\r")
    says = [Command(f"uefi-{name}", f"{said}, {typed}", typed, 3.0)
            for name, typed in _EFI_SAYS.items()]  # fmt: skip
    yield Scene(start, shell, says, whole=("uefi-start", f"{said}, its start"),
                keys=(rb"to skip", b"\x1b"), enter="\r")  # fmt: skip


TFA_DIES = {
    1: ("assert(secure_entrypoint == 0)", "udf"),
    2: ("a jump to an address that is not mapped", "a write to an address that is not mapped"),
    3: ("brk", "panic()"),
}
"""What was put into qemu_system_off() and qemu_system_reset() of each build of TF-A."""


def tfa(flash: Path, number: int, said: str) -> Iterator[Scene]:
    """Yield scenes in which EL3 dies at U-Boot's request to switch off, or to reset."""
    start = ("-M", "virt,virtualization=on,secure=on", "-cpu", "cortex-a57", "-smp", "2",
             "-m", "1024", "-nic", "none", "-bios", flash)  # fmt: skip
    for typed, what in zip(("poweroff", "reset"), TFA_DIES[number], strict=True):
        command = Command(f"tfa-{number}-{typed}", f"{said}, {what} in {typed}", typed, 5.0)
        whole = ("tfa-start", f"{said}, its start, then U-Boot's") if number == 1 else None
        yield Scene(start, rb"=> $", [command], whole=whole,
                    keys=_STOP)  # fmt: skip


def uboot_of_a_pi(firmware: Path, said: str) -> Iterator[Scene]:
    """Yield the same for a Raspberry Pi 3, whose U-Boot is another and whose UART is, too."""
    start = ("-M", "raspi3b", "-serial", "null", "-accel", "tcg,thread=single",
             "-kernel", firmware)  # fmt: skip
    for name in ("md-far", "mw-far", "cp-far", "crc32-far", "booti-far", "go-far"):
        typed = _UBOOT_DIES[name]
        command = Command(f"uboot-pi-{name}", f"{said}, {typed}", typed, 4.0)
        yield Scene(start, rb"U-Boot> $", [command], keys=_STOP)
    asked = [Command(f"uboot-pi-{name}", f"{said}, {_UBOOT_LIVES[name]}", _UBOOT_LIVES[name], 4.0)
             for name in ("version", "bdinfo", "printenv", "echo-panic", "coninfo")]  # fmt: skip
    yield Scene(start, rb"U-Boot> $", asked, whole=("uboot-pi-boot", f"{said}, its start"),
                keys=_STOP)  # fmt: skip
