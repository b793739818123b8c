# SPDX-License-Identifier: Apache-2.0
"""The device tree that hilkexec hands to the next kernel: its C, on this host."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import fdt
import pytest

from hilagent.build import sources

_MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hilkexec.h"

int main(int argc, char **argv) /* ROOM INITRD_SIZE USABLE_SIZE < tree > tree */
{
    static uint8_t in[1 << 16], out[1 << 16];
    struct chosen chosen = { "console=x", 0x48000000, strtoul(argv[2], 0, 0), 0x70000000,
    strtoul(argv[3], 0, 0), { 1 } };
    size_t size = fread(in, 1, sizeof(in), stdin);
    uint8_t *exact = malloc(size ? size : 1);

    memcpy(exact, in, size);
    size = fdt_rewrite(exact, size, out, strtoul(argv[1], 0, 0), &chosen);
    fwrite(out, 1, size, stdout);
    free(exact);
    return argc != 4 || !size;
}
"""
Rewrite = Callable[..., bytes]


@pytest.fixture(scope="module")
def rewrite(tmp_path_factory: pytest.TempPathFactory) -> Rewrite:
    """Runs the C with AddressSanitizer; returns the new tree, or nothing if it refused."""
    folder = tmp_path_factory.mktemp("fdt")
    (folder / "main.c").write_text(_MAIN)
    home = sources.firmware_dir() / "rootfs"
    argv = ["gcc", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all", f"-I{home}", "main.c", str(home / "hilkexec_fdt.c"),
            "-o", "rewrite"]  # fmt: skip
    subprocess.run(argv, cwd=folder, check=True)

    def run(tree: bytes, room: int = 1 << 16, initrd: int = 0, usable: int = 0) -> bytes:
        words = [str(folder / "rewrite"), str(room), str(initrd), str(usable)]
        done = subprocess.run(words, input=tree, capture_output=True, check=False)
        assert b"Sanitizer" not in done.stderr, done.stderr.decode()
        return done.stdout

    return run


def tree(*, chosen: bool = True, cells: int = 2) -> bytes:
    made = fdt.FDT()
    made.header.version = 17
    made.set_property("#address-cells", cells)
    made.set_property("#size-cells", cells)
    made.set_property("reg", 7, path="/memory@40000000")
    if chosen:
        for name in ("bootargs", "stdout-path", "kaslr-seed", "linux,elfcorehdr"):
            made.set_property(name, "old", path="/chosen")
        made.set_property("bootargs", "kept", path="/cpus/chosen")
    return bytes(made.to_dtb(version=17))


def test_what_belonged_to_the_old_kernel_is_replaced(rewrite: Rewrite) -> None:
    made = fdt.parse_dtb(rewrite(tree(), initrd=0x1000))
    assert made.get_property("bootargs", "/chosen").value == "console=x"
    assert made.get_property("stdout-path", "/chosen").value == "old"
    assert not made.exist_property("kaslr-seed", "/chosen")
    assert not made.exist_property("linux,elfcorehdr", "/chosen")
    assert not made.exist_property("linux,usable-memory-range", "/chosen")
    assert list(made.get_property("linux,initrd-end", "/chosen").data) == [0, 0x48001000]
    assert len(made.get_property("rng-seed", "/chosen").data) == 16
    assert made.get_property("bootargs", "/cpus/chosen").value == "kept"
    assert made.get_property("reg", "/memory@40000000").value == 7


@pytest.mark.parametrize(
    ("cells", "words"), [(1, [0x70000000, 0x100]), (2, [0, 0x70000000, 0, 0x100])]
)
def test_a_crash_kernel_is_told_its_memory_in_the_trees_own_cells(
    rewrite: Rewrite, cells: int, words: list[int]
) -> None:
    made = fdt.parse_dtb(rewrite(tree(cells=cells), usable=0x100))
    assert list(made.get_property("linux,usable-memory-range", "/chosen").data) == words
    assert not made.exist_property("linux,initrd-start", "/chosen")


def test_a_tree_without_chosen_gets_one(rewrite: Rewrite) -> None:
    made = fdt.parse_dtb(rewrite(tree(chosen=False)))
    assert made.get_property("bootargs", "/chosen").value == "console=x"


def test_it_can_be_done_again_and_again(rewrite: Rewrite) -> None:
    once = rewrite(tree(), initrd=1)
    again = once
    for _ in range(20):
        again = rewrite(again, initrd=1)
    assert fdt.parse_dtb(again).to_dts() == fdt.parse_dtb(once).to_dts()
    assert len(again) < len(once) + 20 * 128  # names that are in there already pile up, bounded


def test_too_little_room_is_refused(rewrite: Rewrite) -> None:
    whole = tree()
    full = len(rewrite(whole))
    assert [room for room in range(0, full, 40) if rewrite(whole, room=room)] == []
    assert rewrite(whole, room=full)


def test_a_broken_tree_is_refused_or_still_a_tree(rewrite: Rewrite) -> None:
    whole = tree()
    for cut in range(0, len(whole), 29):
        assert rewrite(whole[:cut]) == b""
    for at in range(0, len(whole), 13):
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        rewrite(bytes(broken))
