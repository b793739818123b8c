# SPDX-License-Identifier: Apache-2.0
"""What is under test: vectors, chosen by name.

``reference-stub``, ``reference-kvm``: the reference tables of this project;
``mutant:NAME``: one broken on purpose; ``file:PATH[@OFFSET][,SERVER]``: a table from a
file, 2 KiB aligned at OFFSET (default 0), judged as SERVER (default ``hyp-stub``);
``vmlinux:PATH[,SERVER]``: a kernel's own, cut out of its ELF, or out of an Image with
its System.map (``vmlinux:IMAGE+SYSTEM.MAP``), in the ABI that its code speaks.
``RECORDER`` is the payload's own recording vectors (suite architecture).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.link import wire

if TYPE_CHECKING:
    from hilagent import abi
    from hilagent.audit.possible import Code
    from hilagent.elf.file import Elf
    from hilagent.session.kernel_vectors import Kernels

REFERENCES = ("reference-stub", "reference-kvm")
VMLINUX = "vmlinux:"
_ALIGN = 0x800


@dataclass(frozen=True)
class Subject:
    """Vectors that can be put under test.

    Attributes:
        server: ``hyp-stub`` or ``kvm``: whose contract it is judged by.
        blob: what is loaded into the slot; empty for a table built into the payload.
        offset: where the table stands in ``blob``, in bytes.
        profile: the ABI that these vectors speak; None: that of the run.
        origin: of a kernel's own: where they come from, and what they speak.
        elf: opens what ``blob`` was made from; None: there is only the blob.
    """

    name: str
    server: str
    target: wire.Target = wire.Target.SLOT
    blob: bytes = b""
    offset: int = 0
    serves_el2: bool = False
    profile: abi.Profile | None = None
    origin: Kernels | None = None
    elf: Callable[[], Elf] | None = field(default=None, compare=False, repr=False)

    def code(self, profile: abi.Profile) -> Code | None:
        """Return the code of these vectors, to be followed; None where it isn't known."""
        from hilagent.audit.possible import code_of

        return None if self.elf is None else code_of(self.elf(), profile, self.server)

    @property
    def skip(self) -> tuple[int, ...]:
        """Numbers that the contract doesn't know and whose code can't be run."""
        return self.origin.skip if self.origin else ()

    @property
    def unissued(self) -> tuple[int, ...]:
        """Every number that is not issued, besides those that the contract leaves out."""
        return (*self.skip, *self.origin.undecided) if self.origin else ()


RECORDER = Subject("recorder", "", wire.Target.RECORDER)


def resolve(name: str, profile: abi.Profile, *, forced: bool = True) -> Subject:
    """Return the subject called ``name``, built if it has to be.

    Args:
        forced: ``profile`` was asked for; else a kernel's own vectors are judged by the
            ABI that their code speaks.

    Raises:
        errors.UsageError: there is no such name or file, or it isn't a table.
        errors.WorldError: it can't be built.
    """
    if name.startswith("file:"):
        return _from_file(name, profile)
    if name.startswith(VMLINUX):
        return _from_kernel(name, profile if forced else None)
    from hilagent.build.vectors import build
    from hilagent.elf import open_elf

    built = build(name, profile)
    return Subject(
        name, built.server, wire.Target.SLOT, built.blob, built.offset,
        serves_el2=built.serves_el2, elf=partial(open_elf, built.elf),
    )  # fmt: skip


def _from_kernel(name: str, profile: abi.Profile | None) -> Subject:
    from hilagent.session import kernel_vectors

    found = kernel_vectors.read(name.removeprefix(VMLINUX), profile)
    return Subject(
        name,
        found.server,
        wire.Target.SLOT,
        found.blob,
        found.offset,
        serves_el2=found.profile.serves_el2(found.server),
        profile=found.profile,
        origin=found,
        elf=lambda: found.elf,
    )


def _from_file(name: str, profile: abi.Profile) -> Subject:
    place, _, server = name.removeprefix("file:").partition(",")
    path, _, offset_text = place.partition("@")
    server = server or "hyp-stub"
    if server not in profile.servers:
        raise errors.UsageError(
            f"--vectors {name}: profile {profile.name} has no server '{server}'",
            hint=f"its servers: {', '.join(profile.servers)}",
        )
    try:
        offset = int(offset_text or "0", 0)
        blob = Path(path).read_bytes()
    except ValueError as exc:
        raise errors.UsageError(f"--vectors {name}: the offset is not a number") from exc
    except OSError as exc:
        raise errors.UsageError(f"--vectors {name}: {path}: {exc.strerror}") from exc
    if offset % _ALIGN or offset + _ALIGN > len(blob):
        raise errors.UsageError(
            f"--vectors {name}: a table is {_ALIGN} bytes, aligned to {_ALIGN:#x}; "
            f"the file has {len(blob)} bytes"
        )
    serves_el2 = profile.serves_el2(server)
    return Subject(name, server, wire.Target.SLOT, blob, offset, serves_el2=serves_el2)
