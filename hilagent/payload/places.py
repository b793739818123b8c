# SPDX-License-Identifier: Apache-2.0
"""Where the next kernel, its initrd and its device tree may stand. Pure: no board here.

The rules are Documentation/arch/arm64/booting.rst's: the Image ``text_offset`` bytes
behind a 2 MiB boundary, ``image_size`` bytes free from there (BSS included); the initrd
in a 1 GiB aligned window of 32 GiB that holds the Image too; the tree in a 2 MiB block
of its own, so that nothing with other memory attributes shares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hilagent import errors

PAGE, BLOCK = 4096, 2 << 20
_WINDOW_ALIGN, _WINDOW = 1 << 30, 32 << 30


@dataclass(frozen=True, order=True)
class Range:
    """``size`` bytes from ``start``, both in bytes."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size

    def overlaps(self, other: Range) -> bool:
        """Whether they share a byte."""
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        return f"{self.start:#x}-{self.end - 1:#x}"


@dataclass(frozen=True)
class Sizes:
    """What needs a place, in bytes. ``image``: with BSS, as the Image's header says."""

    image: int
    text_offset: int
    initrd: int
    dtb: int


@dataclass(frozen=True)
class Places:
    """Addresses; ``initrd`` is 0 where there is none."""

    image: int
    initrd: int
    dtb: int

    def ranges(self, sizes: Sizes) -> tuple[Range, ...]:
        """Return what is taken: the Image, the initrd if there is one, the tree."""
        taken = [Range(self.image, sizes.image), Range(self.dtb, sizes.dtb)]
        return (*taken, Range(self.initrd, sizes.initrd)) if sizes.initrd else tuple(taken)


def subtract(ranges: Sequence[Range], holes: Sequence[Range]) -> list[Range]:
    """Return ``ranges`` without the bytes of ``holes``, in order."""
    left = sorted(each for each in ranges if each.size > 0)
    for hole in holes:
        if hole.size <= 0:
            continue
        pieces = []
        for each in left:
            low, high = min(each.end, hole.start), max(each.start, hole.end)
            if not each.overlaps(hole):
                pieces.append(each)
                continue
            pieces += [Range(each.start, low - each.start), Range(high, each.end - high)]
        left = [piece for piece in pieces if piece.size > 0]
    return left


def common(ranges: Sequence[Range], others: Sequence[Range]) -> list[Range]:
    """Return the bytes that stand in both, in order."""
    pairs = ((max(a.start, b.start), min(a.end, b.end)) for a in ranges for b in others)
    return sorted(Range(start, end - start) for start, end in pairs if end > start)


def plan(
    memory: Sequence[Range],
    reserved: Sequence[Range],
    alive: Sequence[Range],
    sizes: Sizes,
    crash_region: Sequence[Range] = (),
) -> Places:
    """Return places that overlap nothing.

    Args:
        memory: all RAM.
        reserved: firmware's and other people's.
        alive: what still runs or will be copied: the payload, its tree, the bundle.
        crash_region: where given, nothing is placed outside of it.

    Raises:
        errors.PreconditionError: there is no room; it says for what, and how much.
    """
    ram = merged(memory)
    if crash_region:
        ram = common(ram, merged(crash_region))
    free = subtract(ram, (*reserved, *alive))
    need = sizes.text_offset + sizes.image
    for base in _candidates(free, need, BLOCK):
        taken = Range(base, need)
        rest = subtract(free, [taken])
        for initrd in _initrd(rest, taken, sizes.initrd):
            left = subtract(rest, [Range(initrd, _pages(sizes.initrd))])
            for dtb in _candidates(left, BLOCK, BLOCK):
                return Places(base + sizes.text_offset, initrd, dtb)
    raise errors.PreconditionError(
        f"no room for the next kernel ({need:#x} bytes), its initrd ({sizes.initrd:#x}) and its "
        f"device tree ({BLOCK:#x}) in {_said(free)}",
        hint="a greater crashkernel= on the first kernel's command line"
        if crash_region
        else "a smaller kernel or root file system, or a board with more memory",
    )


def merged(ranges: Sequence[Range]) -> list[Range]:
    """Return the same bytes as ranges that neither touch nor overlap."""
    out: list[Range] = []
    for each in sorted(each for each in ranges if each.size > 0):
        if out and each.start <= out[-1].end:
            last = out.pop()
            each = Range(last.start, max(last.end, each.end) - last.start)
        out.append(each)
    return out


def _initrd(free: Sequence[Range], image: Range, size: int) -> Iterator[int]:
    if not size:
        yield 0
        return
    window = Range(image.start // _WINDOW_ALIGN * _WINDOW_ALIGN, _WINDOW)
    yield from _candidates(common(free, [window]), _pages(size), PAGE)


def _candidates(free: Sequence[Range], size: int, align: int) -> Iterator[int]:
    """The lowest and the highest place in each range; low addresses first."""
    for each in free:
        low = each.start + -each.start % align
        if low + size <= each.end:
            yield low
            high = (each.end - size) // align * align
            if high != low:
                yield high


def _pages(size: int) -> int:
    return size + -size % PAGE


def _said(free: Sequence[Range]) -> str:
    most = sorted(free, key=lambda each: -each.size)[:4]
    return f"the free memory ({', '.join(map(str, sorted(most))) or 'none'})"
