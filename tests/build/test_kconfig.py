# SPDX-License-Identifier: Apache-2.0
"""Configuration fragments: read strictly, merged, and held against what kconfig made."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent.build import kconfig, series
from hilagent.errors import InputError


def fragment(folder: Path, text: str, name: str = "own.config") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_fragment_is_its_options_with_their_lines(tmp_path: Path) -> None:
    text = '# why\nCONFIG_A=y\n\n# CONFIG_B is not set\nCONFIG_C="a b"\nCONFIG_D=n\n'
    wanted = kconfig.read([fragment(tmp_path, text)])
    assert [(w.line, w.option, w.value) for w in wanted] == [
        (2, "A", "y"), (4, "B", "n"), (5, "C", '"a b"'), (6, "D", "n"),
    ]  # fmt: skip
    assert [w.text for w in wanted][1:] == [
        "# CONFIG_B is not set", 'CONFIG_C="a b"', "# CONFIG_D is not set",
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["CONFIG_A", "A=y", "CONFIG A=y", "CONFIG_A =y", "set CONFIG_A"])
def test_a_line_that_is_no_option_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"own\.config:2: not an option"):
        kconfig.read([fragment(tmp_path, f"CONFIG_B=y\n{line}\n")])


def test_an_option_given_twice_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.config:3: CONFIG_A: given twice, first on line 1"):
        kconfig.read([fragment(tmp_path, "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_A is not set\n")])


def test_a_later_fragment_wins(tmp_path: Path) -> None:
    first = fragment(tmp_path, "CONFIG_A=y\nCONFIG_B=y\n")
    second = fragment(tmp_path, "CONFIG_A=m\n", "second.config")
    wanted = kconfig.read([first, second])
    kconfig.check("CONFIG_A=m\nCONFIG_B=y\n", wanted)
    with pytest.raises(InputError, match=r"second\.config:1: CONFIG_A: wanted m, found y"):
        kconfig.check("CONFIG_A=y\nCONFIG_B=y\n", wanted)


def test_merging_takes_each_option_once(tmp_path: Path) -> None:
    wanted = kconfig.read([fragment(tmp_path, "CONFIG_A=y\n# CONFIG_B is not set\n")])
    merged = kconfig.merge("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=y\n", wanted)
    assert merged == "CONFIG_C=y\nCONFIG_A=y\n# CONFIG_B is not set\n"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "CONFIG_A: wanted y, found n after olddefconfig (not set)"),
        ("# CONFIG_A is not set\n", "CONFIG_A: wanted y, found n after olddefconfig (not set)"),
        ("CONFIG_A=m\n", "CONFIG_A: wanted y, found m after olddefconfig"),
        ("CONFIG_A=y\nCONFIG_B=y\n", "CONFIG_B: wanted n, found y after olddefconfig"),
    ],
)
def test_what_did_not_survive_is_said(tmp_path: Path, config: str, said: str) -> None:
    wanted = kconfig.read([fragment(tmp_path, "CONFIG_A=y\n# CONFIG_B is not set\n")])
    with pytest.raises(InputError) as caught:
        kconfig.check(config, wanted)
    assert str(caught.value).splitlines()[0].endswith(said)
    assert "depends on" in caught.value.hint


def test_many_losses_are_counted(tmp_path: Path) -> None:
    wanted = kconfig.read([fragment(tmp_path, "".join(f"CONFIG_A{n}=y\n" for n in range(30)))])
    with pytest.raises(InputError, match="and 20 more"):
        kconfig.check("", wanted)


def test_our_own_fragments_can_be_read() -> None:
    for path in (series.folder() / "config").glob("*.config"):
        assert kconfig.read([path])
