# SPDX-License-Identifier: Apache-2.0
"""A kernel's own vectors are cut out whole, and what can't run elsewhere is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hilagent.elf.cut import ALL_BITS, MOST, Cut, cut
from hilagent.elf.fields import Field
from hilagent.elf.file import Elf, open_elf
from hilagent.elf.mapped import open_kernel
from hilagent.errors import InputError
from tests import tree

from .kernels import ISS, PAGE, TEXT, X0, flat, kernel, stripped
from .objects import assembled

TABLE = TEXT + PAGE


def _cut(folder: Path, source: str, *defines: str, server: str = "hyp-stub") -> tuple[Elf, Cut]:
    elf = open_elf(kernel(folder, source, *defines))
    return elf, cut(elf, server)


@pytest.mark.parametrize(("source", "by", "number"), [(X0, "x0", 3), (ISS, "immediate", 6)])
def test_the_table_and_what_it_reaches_are_one_page(
    tmp_path: Path, source: str, by: str, number: int
) -> None:
    elf, found = _cut(tmp_path, source)
    assert (found.address, found.table_address, found.offset) == (TABLE, TABLE, 0)
    assert found.blob == elf.read(TABLE, PAGE)
    assert {"__hyp_stub_vectors", "elx_sync", "invalid"} <= set(found.symbols.values())
    assert [(each.by, each.number, each.symbol) for each in found.left_out] == [
        (by, number, "__finalise_el2")
    ]
    (left,) = found.left_out
    assert left.finalises
    assert re.search(r"__finalise_el2 at 0x\w+ branches to 0x\w+ \(enter_vhe\)", left.reason)
    assert "names 0x" in left.reason
    assert "rewrites HCR_EL2" in left.reason


@pytest.mark.parametrize("source", [X0, ISS])
def test_the_copied_table_is_2_kib_and_whole(tmp_path: Path, source: str) -> None:
    elf, found = _cut(tmp_path, source, server="trans-pgd")
    assert len(found.blob) == 0x800
    assert found.blob == elf.read(found.table_address, 0x800)
    assert found.left_out == ()


def test_what_each_number_does_is_told_from_the_code(tmp_path: Path) -> None:
    _, found = _cut(tmp_path, X0)
    assert found.arms.numbers("x0") == (0, 1, 2, 3)
    assert found.arms.numbers("immediate") == ()
    (set_vectors,) = found.arms.of("x0", 0)
    assert "vbar_el2 x1" in set_vectors.did
    assert set_vectors.result == 0
    (restart,) = found.arms.of("x0", 1)
    assert (restart.how, restart.target) == ("br", Field("x1"))
    assert {end.result for end in found.arms.of("x0", None)} == {0xBADCA11}


@pytest.mark.parametrize(
    ("define", "said"),
    [
        ("UNKNOWN=cbnz x7, enter_vhe", r"elx_sync at 0x\w+ branches to 0x\w+ \(enter_vhe\)"),
        ("UNKNOWN=ldr x7, =enter_vhe", r"elx_sync at 0x\w+ names, by its absolute address"),
        ("EVERY=adrp x7, override", r"elx_sync at 0x\w+ names 0x\w+ \(.data\)"),
        ("LAST=enter_vhe", r"__hyp_stub_vectors at 0x\w+ branches to 0x\w+ \(enter_vhe\)"),
        ("MISALIGNED", r"__hyp_stub_vectors at 0x\w+040 is not aligned to 0x800"),
    ],
)
def test_what_leaves_and_is_no_hcalls_own_is_an_error(
    tmp_path: Path, define: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        _cut(tmp_path, X0, define)


def test_a_literal_that_is_no_address_travels_along(tmp_path: Path) -> None:
    _, found = _cut(tmp_path, X0, "UNKNOWN=ldr x7, =0x123456789abcdef0")
    assert (0x123456789ABCDEF0).to_bytes(8, "little") in found.blob


def test_a_number_whose_code_rewrites_hcr_is_left_out_though_it_stays(tmp_path: Path) -> None:
    _, found = _cut(tmp_path, ISS, "EVERY=cmp x17, #9; b.ne 7f; msr hcr_el2, x1; 7:")
    assert [each.number for each in found.left_out] == [6, 9]
    assert found.left_out[1].reason == "elx_sync rewrites HCR_EL2"


def test_a_number_that_a_path_gave_itself_is_followed_as_that_number(tmp_path: Path) -> None:
    """With 9 in place of what came in, no compare with 6 holds: nothing leaves there."""
    _, found = _cut(tmp_path, ISS, "EVERY=cmp x17, #9; b.ne 7f; mov x17, #9; 7:")
    assert [each.number for each in found.left_out] == [6]


def test_a_number_that_may_leave_is_told_from_one_that_must(tmp_path: Path) -> None:
    must = "cmp x17, #9; b.ne 7f; msr hcr_el2, x1; 7:"
    may = "cmp x17, #9; b.ne 7f; cbnz x5, 7f; msr hcr_el2, x1; 7:"
    for text, certain in ((must, True), (may, False)):
        _, found = _cut(tmp_path, ISS, f"EVERY={text}")
        assert {each.number: each.certain for each in found.left_out} == {6: True, 9: certain}


@pytest.mark.parametrize(
    ("source", "define", "bits"),
    [
        (ISS, "EVERY=and x17, x17, #0xff", 0xFF),
        (X0, "SELECTOR=w0", 0xFFFFFFFF),
        (ISS, "EVERY=", ALL_BITS),
        (X0, "EVERY=", ALL_BITS),
    ],
)
def test_the_bits_that_are_looked_at_are_known(
    tmp_path: Path, source: str, define: str, bits: int
) -> None:
    _, found = _cut(tmp_path, source, define)
    (left,) = found.left_out
    assert left.bits == bits
    assert left.number in left
    assert (left.number ^ 0x100 in left) is (bits == 0xFF)


def test_code_that_looks_at_x0_too_costs_no_immediate(tmp_path: Path) -> None:
    both = "EVERY=cbnz x17, 7f; cmp x0, #3; b.eq __finalise_el2; 7:"
    _, found = _cut(tmp_path, ISS, both)
    assert [(each.by, each.number) for each in found.left_out] == [("immediate", 6), ("x0", 3)]


def test_an_alternative_in_the_cut_is_told(tmp_path: Path) -> None:
    _, found = _cut(tmp_path, X0, "EVERY=alternative nop, isb")
    (note,) = found.notes
    assert re.match(r"1 boot-time alternatives in these vectors \(elx_sync at 0x\w+\)", note)
    assert _cut(tmp_path, X0)[1].notes == ()


def test_without_symbols_the_error_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no symbols") as seen:
        cut(open_elf(stripped(kernel(tmp_path, X0))))
    assert "System.map" in seen.value.hint


def test_what_has_no_such_vectors_is_refused(tmp_path: Path) -> None:
    path = kernel(tmp_path, X0)
    with pytest.raises(InputError, match="vectors of kvm can't be cut out"):
        cut(open_elf(path), "kvm")
    text = X0.replace("__hyp_stub_vectors", "other").replace("trans_pgd_stub_vectors", "copied")
    with pytest.raises(InputError, match="no symbol __hyp_stub_vectors"):
        cut(open_elf(kernel(tmp_path, text, name="other")))
    with pytest.raises(InputError, match="not linked yet"):
        cut(open_elf(assembled(tmp_path, X0, "object.S")))


def test_more_than_the_payload_has_room_for_is_refused(tmp_path: Path) -> None:
    far = X0.replace("	.type	invalid", "	.space	0xf400\n	.type	invalid")
    with pytest.raises(InputError, match="the payload has room for 0x10000"):
        _cut(tmp_path, far, "LAST=before")
    _, found = _cut(tmp_path, X0, "LAST=before")
    assert (found.address, found.offset) == (TABLE - PAGE, PAGE)


def test_the_room_is_that_of_the_payload() -> None:
    text = (tree.TOP / "firmware/payload/lab.h").read_text()
    found = re.search(r"#define SLOT_SIZE (0x\w+)", text)
    assert found is not None
    assert int(found[1], 16) == MOST


@pytest.mark.parametrize("source", [X0, ISS])
@pytest.mark.parametrize("server", ["hyp-stub", "trans-pgd"])
def test_an_image_with_its_system_map_gives_the_same(
    tmp_path: Path, source: str, server: str
) -> None:
    path = kernel(tmp_path, source)
    image, listing = flat(path)
    wanted = cut(open_elf(path), server)
    for elf in (open_kernel(image, listing), open_kernel(stripped(path), listing)):
        found = cut(elf, server)
        assert (found.blob, found.table_address) == (wanted.blob, wanted.table_address)
        assert [e.number for e in found.left_out] == [e.number for e in wanted.left_out]


def test_an_image_alone_and_a_foreign_map_are_refused(tmp_path: Path) -> None:
    image, listing = flat(kernel(tmp_path, X0))
    with pytest.raises(InputError, match="an Image, which has no symbols") as seen:
        open_kernel(image)
    assert f" {image}+SYSTEM.MAP" in seen.value.hint
    text = listing.read_text()
    for broken, said in (
        (re.sub(r"\w{16}( . _end)", r"ffff8000800fffff\1", text), "not of one build"),
        (text.replace(" _text\n", " text\n"), "no _text and _end"),
        (text + "what?\n", "not a line of a System.map"),
    ):
        listing.write_text(broken)
        with pytest.raises(InputError, match=said):
            open_kernel(image, listing)
    with pytest.raises(InputError, match="No such file"):
        open_kernel(image, tmp_path / "none")
    listing.write_text(text)
    packed = tmp_path / "Image.gz"
    packed.write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(InputError, match="it is compressed"):
        open_kernel(packed, listing)
