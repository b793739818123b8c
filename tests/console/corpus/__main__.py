# SPDX-License-Identifier: Apache-2.0
"""Makes the corpus of console logs: ``python -m tests.console.corpus FOLDER WHAT...``

WHAT is ``debug`` or ``kasan`` (kernels, built here; an hour of QEMU each), ``stock`` (Debian's),
``uboot``, ``uefi``, ``payload``, ``tfa`` (built before: FOLDER/tfa-N.bin, see ``scenes``), or
``write``. The logs go to FOLDER; ``write`` puts them, cut, into tests/console/logs, with heads
that the program *proposes*: whoever adds one compares them with the log, line by line.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hilagent.build import debian, image
from hilagent.build.kernel import build_kernel
from hilagent.build.rootfs import build_rootfs
from hilagent.build.stock import debian_kernel
from hilagent.console.watch import Incident, incidents

from . import firmware, log, scenes
from .driver import MOST_BYTES, Scene, play
from .payload import payloads

_HERE = Path(__file__).parent
_AROUND_BYTES = 400
_MOST_TOGETHER = 4
_MACHINE = "qemu virt, smp 2"
_KERNELS = {
    "debug": f"linux 6.12.117 with lockdep, KFENCE, UBSAN, {_MACHINE}",
    "kasan": f"linux 6.12.117 with KASAN, {_MACHINE}",
}
_OLDER = {
    "debian61": "linux-image-6.1.0-50-arm64-unsigned",
    "debian61rt": "linux-image-6.1.0-50-rt-arm64-unsigned",
}


def _kernel(name: str) -> Iterator[Scene]:
    kernel = build_kernel("patched", config=[_HERE / f"{name}.config"])
    said, built, initrd = _KERNELS[name], kernel.image, build_rootfs().archive
    points = scenes.LKDTM if name == "debug" else scenes.KASAN
    yield from scenes.lkdtm(name, said, built, initrd, points)
    yield from scenes.last(name, said, built, initrd, scenes.LAST)
    panics = "oops=panic" if name == "debug" else "oops=panic kasan.fault=panic"
    yield from scenes.last(f"{name}-panic", said, built, initrd, scenes.OOPS, panics)
    yield from scenes.last(f"{name}-pow", said, built, initrd, scenes.WARN, scenes.ALL_PANIC)
    if name == "debug":
        yield from scenes.lives(name, said, built, initrd)
        yield from scenes.ends(name, said, built, initrd)
        yield from scenes.poked(name, said, built, initrd)
    assert kernel.tree is not None
    for module in sorted(kernel.tree.rglob("*test*.ko")):
        loaded = build_rootfs(kernel=replace(kernel, modules=(module,))).archive
        yield from scenes.tested(name, said, built, loaded, module.stem)


def _stock() -> Iterator[Scene]:
    initrd = build_rootfs().archive
    ours = debian_kernel()
    yield from scenes.stock("debian612", f"linux {ours.release}, {_MACHINE}", ours.image, initrd)
    for name, package in _OLDER.items():
        (fetched,) = debian.fetch([package])
        (vmlinuz,) = debian.unpack((fetched,)).glob("boot/vmlinuz-*")
        with tempfile.NamedTemporaryFile() as plain:
            plain.write(image.plain(vmlinuz))
            plain.flush()
            said = f"linux {fetched.version} ({package}), {_MACHINE}"
            yield from scenes.stock(name, said, Path(plain.name), initrd)


def _uboot() -> Iterator[Scene]:
    said = "U-Boot 2023.01+dfsg-2+deb12u3"
    path = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
    yield from firmware.uboot(path, f"{said}, qemu virt, EL2")
    pis = debian.unpack(debian.fetch(["u-boot-rpi"]))
    yield from firmware.uboot_of_a_pi(pis / "usr/lib/u-boot/rpi_3/u-boot.bin",
                                      f"{said}, qemu raspi3b")  # fmt: skip


def _uefi(folder: Path) -> Iterator[Scene]:
    (package,) = debian.fetch(["qemu-efi-aarch64"])
    built = next(debian.unpack((package,)).rglob("QEMU_EFI.fd"))
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    return firmware.uefi(built, f"EDK2 of qemu-efi-aarch64 {package.version}, qemu virt", disk)


def _tfa(folder: Path) -> Iterator[Scene]:
    for number in firmware.TFA_DIES:
        flash = folder / f"tfa-{number}.bin"
        yield from firmware.tfa(flash, number, "TF-A 2.8 (DEBUG=1), qemu virt")


def _played(make: Iterator[Scene], folder: Path) -> Iterator[tuple[str, str, bytes]]:
    for scene in make:
        yield from play(scene, folder)


_WHAT: dict[str, Callable[[Path], Iterator[tuple[str, str, bytes]]]] = {
    "debug": lambda folder: _played(_kernel("debug"), folder),
    "kasan": lambda folder: _played(_kernel("kasan"), folder),
    "stock": lambda folder: _played(_stock(), folder),
    "uboot": lambda folder: _played(_uboot(), folder),
    "uefi": lambda folder: _played(_uefi(folder), folder),
    "tfa": lambda folder: _played(_tfa(folder), folder),
    "payload": payloads,
}


def _make(folder: Path, what: str) -> None:
    for name, said, text in _WHAT[what](folder):
        (folder / f"{name}.raw").write_bytes(text)
        (folder / f"{name}.from").write_text(said)
        print(name, len(text), flush=True)


def _cut(text: bytes, found: list[Incident]) -> bytes:
    """Return what is around these incidents; where there are none, the last part."""
    if not found:
        return text[text.rfind(b"\n", 0, max(0, len(text) - MOST_BYTES)) + 1 :]
    start = text.rfind(b"\n", 0, max(0, found[0].start - _AROUND_BYTES)) + 1
    end = text.find(b"\n", min(len(text), found[-1].end + _AROUND_BYTES // 2)) + 1 or len(text)
    most = max(MOST_BYTES, found[0].end - start) if found[0].panic else MOST_BYTES
    return text[start : min(end, text.rfind(b"\n", 0, start + most) + 1 or end)]


def _cuts(text: bytes) -> Iterator[bytes]:
    """Yield the one log, or of a test with many incidents, one of each sort of title."""
    found = incidents(text)
    if len(found) <= _MOST_TOGETHER:
        yield _cut(text, found)
        return
    sorts: dict[str, Incident] = {}
    for each in found:
        sorts.setdefault(each.title.partition(" in ")[0], each)
    for each in sorts.values():
        after = next((other.start for other in found if other.start >= each.end), len(text))
        yield _cut(text[:after], [each])


def _write(folder: Path) -> None:
    for raw in sorted(folder.glob("*.raw")):
        cuts = list(_cuts(raw.read_bytes()))
        for number, text in enumerate(cuts):
            name = raw.stem + (f"-{number}" if len(cuts) > 1 else "")
            if text.strip():
                found = tuple(log.Expected.of(each) for each in incidents(text))
                log.Log(name, raw.with_suffix(".from").read_text(), found, text).write()


def main() -> None:
    """Make what was asked for."""
    folder, *wanted = sys.argv[1:]
    for what in wanted:
        if what == "write":
            _write(Path(folder))
        else:
            _make(Path(folder), what)


if __name__ == "__main__":
    main()
