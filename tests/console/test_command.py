# SPDX-License-Identifier: Apache-2.0
"""What may be said to U-Boot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.command import ALLOWED, Var, command_line
from hilagent.errors import UsageError


def test_words_numbers_and_variables_are_written_as_uboot_reads_them() -> None:
    assert command_line(["crc32", 0x40400000, 4096]) == b"crc32 40400000 1000"
    assert command_line(["booti", 0x40400000, "-", Var("fdtcontroladdr")]) == (
        b"booti 40400000 - ${fdtcontroladdr}"
    )
    assert command_line(["setenv", "x", "a b"]) == b"setenv x 'a b'"
    assert command_line(["setenv", "x", ""]) == b"setenv x ''"


@pytest.mark.parametrize(
    "argv",
    [
        ["saveenv"],
        ["env", "save"],
        ["env", "erase"],
        ["env"],
        ["run", "bootcmd"],
        ["mmc", "write"],
        ["erase", "all"],
        ["fatwrite", "x"],
        ["sf", "erase"],
        ["source", "0"],
        ["version;saveenv"],
        ["version saveenv"],
        ["'version'"],
        [Var("bootcmd")],
        [],
    ],
)
def test_what_could_write_storage_or_run_something_else_is_refused(argv: list[str | Var]) -> None:
    with pytest.raises(UsageError, match=r"not allowed|can't be given"):
        command_line(argv)


@pytest.mark.parametrize("text", ["it's", "back\\slash", "new\nline", "\x03", "café", "a\x00b"])
def test_an_argument_that_cannot_be_said_safely_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="can't be given"):
        command_line(["echo", text])


@pytest.mark.parametrize("name", ["a b", "x}", "", "1x", "a;b"])
def test_a_variable_has_a_name(name: str) -> None:
    with pytest.raises(UsageError, match="not a name"):
        Var(name)


@given(st.text(max_size=40))
def test_no_argument_ever_ends_the_command_or_starts_another(text: str) -> None:
    try:
        line = command_line(["echo", text]).decode()
    except UsageError:
        return
    outside = "".join(line.split("'")[::2])
    assert not set(outside) & set(';&|$"`\r\n\x03\\#(){}<>*?!~^[]')
    assert line.isascii()
    assert line.isprintable()


def test_nothing_on_the_list_writes_storage() -> None:
    writers = {"saveenv", "mmc", "sf", "nand", "erase", "cp", "save", "ext4write", "fatwrite"}
    runners = {"run", "source", "boot", "bootd", "bootm", "if", "while"}
    assert not ALLOWED & (writers | runners)


@pytest.mark.parametrize("argv", [("bootefi",), ("bootefi", "bootmgr"), ("bootefi", "selftest")])
def test_bootefi_starts_an_image_at_an_address_and_nothing_else(argv: tuple[str, ...]) -> None:
    assert command_line(["bootefi", 0x4040_0000, Var("fdtcontroladdr")]) == (
        b"bootefi 40400000 ${fdtcontroladdr}"
    )
    with pytest.raises(UsageError, match="bootefi is for an image at an address"):
        command_line(argv)
