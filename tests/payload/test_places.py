# SPDX-License-Identifier: Apache-2.0
"""Where the next kernel is put: never over anything that is alive, always inside RAM."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors
from hilagent.payload.places import BLOCK, PAGE, Range, Sizes, common, merged, plan, subtract

MIB = 1 << 20
BASE = 0x4000_0000
RAM = (Range(BASE, 256 * MIB),)
SIZES = Sizes(image=10 * MIB, text_offset=0, initrd=5 * MIB + 17, dtb=BLOCK)

ADDRESSES = st.integers(0, 80).map(lambda n: BASE + n * MIB // 2)
RANGES = st.lists(st.builds(Range, ADDRESSES, st.integers(0, 40 * MIB)), max_size=5)
SOME_SIZES = st.builds(
    Sizes,
    image=st.integers(1, 24 * MIB),
    text_offset=st.sampled_from((0, 0x8_0000)),
    initrd=st.one_of(st.just(0), st.integers(1, 12 * MIB)),
    dtb=st.just(BLOCK),
)


def inside(each: Range, ranges: list[Range]) -> bool:
    return any(r.start <= each.start and each.end <= r.end for r in merged(ranges))


def bytes_of(ranges: list[Range], step: int = 0x1_0000) -> set[int]:
    return {at for each in ranges for at in range(each.start, each.end, step)}


@given(RANGES, RANGES, RANGES, SOME_SIZES, RANGES)
def test_a_plan_overlaps_nothing_and_stays_inside(
    memory: list[Range], reserved: list[Range], alive: list[Range], sizes: Sizes,
    region: list[Range],
) -> None:  # fmt: skip
    try:
        places = plan(memory, reserved, alive, sizes, region)
    except errors.PreconditionError as error:
        assert "no room for the next kernel" in error.message  # noqa: PT017
        return
    taken = places.ranges(sizes)
    for one, other in itertools.combinations(taken, 2):
        assert not one.overlaps(other)
    for each in taken:
        assert not any(each.overlaps(other) for other in (*reserved, *alive) if other.size)
        assert inside(each, memory)
        assert not region or inside(each, region)
    assert (places.image - sizes.text_offset) % BLOCK == 0
    assert places.dtb % BLOCK == 0
    assert places.initrd % PAGE == 0


@given(RANGES, RANGES)
def test_subtract_and_common_split_the_bytes_between_them(
    ranges: list[Range], others: list[Range]
) -> None:
    step = 0x8_0000
    ranges = [Range(r.start, r.size // step * step) for r in ranges]
    others = [Range(r.start, r.size // step * step) for r in others]
    all_, hole = bytes_of(ranges, step), bytes_of(others, step)
    assert bytes_of(subtract(ranges, others), step) == all_ - hole
    assert bytes_of(common(ranges, others), step) == all_ & hole
    assert bytes_of(merged(ranges), step) == all_


def test_an_empty_board_is_filled_from_below() -> None:
    places = plan(RAM, (), (), SIZES)
    assert places.image == BASE
    assert places.initrd == BASE + 10 * MIB
    assert places.dtb == BASE + 16 * MIB


def test_the_text_offset_of_an_old_kernel_is_kept() -> None:
    old = Sizes(image=10 * MIB, text_offset=0x8_0000, initrd=0, dtb=BLOCK)
    assert plan(RAM, (), (), old).image == BASE + 0x8_0000


def test_after_a_crash_nothing_is_placed_outside_of_the_crash_region() -> None:
    region = (Range(BASE + 100 * MIB, 64 * MIB),)
    for each in plan(RAM, (), (), SIZES, region).ranges(SIZES):
        assert inside(each, list(region))


def test_a_crash_region_that_is_too_small_says_how_it_gets_greater() -> None:
    with pytest.raises(errors.PreconditionError, match="no room") as caught:
        plan(RAM, (), (), SIZES, (Range(BASE, 12 * MIB),))
    assert "crashkernel=" in caught.value.hint
    assert "0x40000000-0x40bfffff" in caught.value.message


def test_one_byte_too_few_is_no_room() -> None:
    tight = Sizes(image=2 * MIB, text_offset=0, initrd=4096, dtb=BLOCK)
    assert plan((Range(BASE, 4 * MIB + 4096),), (), (), tight).image == BASE
    with pytest.raises(errors.PreconditionError):
        plan((Range(BASE, 4 * MIB + 4095),), (), (), tight)


def test_where_the_lowest_place_for_the_kernel_leaves_no_room_another_is_tried() -> None:
    """Only the first range holds the initrd."""
    sizes = Sizes(image=2 * MIB, text_offset=0, initrd=3 * MIB, dtb=BLOCK)
    ram = [Range(BASE + at * MIB, size * MIB) for at, size in ((0, 4), (64, 2), (128, 2))]
    places = plan(ram, (), (), sizes)
    assert (places.image, places.initrd) == (BASE + 64 * MIB, BASE)


def test_the_initrd_is_within_reach_of_the_kernel() -> None:
    """booting.rst: a 1 GiB aligned window of 32 GiB holds both."""
    far = Range(BASE + (40 << 30), 64 * MIB)
    with pytest.raises(errors.PreconditionError):
        plan((Range(BASE, 10 * MIB), far), (), (), Sizes(30 * MIB, 0, 40 * MIB, BLOCK))
    near = Sizes(30 * MIB, 0, 8 * MIB, BLOCK)
    assert plan((far, Range(far.end, 8 * MIB)), (), (), near).initrd >= far.start
