# SPDX-License-Identifier: Apache-2.0
"""The kernel patches as text; what needs the kernel's source is in tests/long."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hilagent import abi
from hilagent.probe import RULES, entry
from tests.firmware import patches

HEADER = "arch/arm64/include/asm/hcall.h"
ALLOWED = {
    *("MAINTAINERS", "Documentation/virt/kvm/arm/hyp-abi.rst", "arch/arm64/Kconfig", HEADER),
    *(f"arch/arm64/kernel/{name}.S" for name in ("hyp-stub", "cpu-reset", "relocate_kernel")),
    *("arch/arm64/kernel/hibernate-asm.S", "arch/arm64/mm/trans_pgd-asm.S"),
    *(f"arch/arm64/kvm/hyp/nvhe/{name}.S" for name in ("host", "hyp-init")),
}
DEADLY = {"restart-arrives", "boot"}  # what shows as silence
AUTHOR = "hilagent developers <hilagent@localhost>"
SERIES = patches.series()
LISTED: list[dict[str, Any]] = yaml.safe_load((patches.BROKEN / "broken.yaml").read_text())[
    "kernels"
]


def _name(item: Any) -> str:
    return item.name if isinstance(item, Path) else str(item["name"])


def test_the_series_names_its_patches_and_the_version_they_were_held_against() -> None:
    assert re.fullmatch(r"6\.12\.\d+", patches.held_against())
    assert sorted(patches.SERIES.parent.glob("*.patch")) == SERIES
    numbers = [int(path.name[:4]) for path in SERIES]
    assert numbers == list(range(1, len(SERIES) + 1))


@pytest.mark.parametrize("patch", SERIES, ids=_name)
def test_a_patch_is_what_git_am_takes(patch: Path) -> None:
    text = patch.read_text()
    head, _, rest = text.partition("\n\n")
    assert head.startswith("From ")
    assert f"\nFrom: {AUTHOR}\n" in head
    number = f"[PATCH {int(patch.name[:4]):02d}/{len(SERIES):02d}]"
    assert f"\nSubject: {number}" in head
    message, _, _ = rest.partition("\n---\n")
    assert message.rstrip().endswith(f"Signed-off-by: {AUTHOR}")
    assert max(len(line) for line in message.splitlines()) <= 75


@pytest.mark.parametrize("patch", SERIES, ids=_name)
def test_a_patch_touches_nothing_that_rebuilds_the_kernel(patch: Path) -> None:
    touched = patches.files(patch)
    assert touched
    assert touched <= ALLOWED


def test_the_header_agrees_with_the_profiles() -> None:
    header = patches.made(HEADER, SERIES)
    for profile in ("iss-6.12", "iss-6.12-scs"):
        assert abi.check(abi.load(profile), header) == (), profile
    assert header.startswith("/* SPDX-License-Identifier: GPL-2.0-only */\n")


def test_a_wrong_number_in_the_header_is_seen() -> None:
    header = patches.made(HEADER, SERIES)
    wrong = header.replace("HVC_SET_VECTORS\t\t2", "HVC_SET_VECTORS\t\t7")
    assert wrong != header
    found = abi.check(abi.load("iss-6.12"), wrong)
    assert [(each.name, each.expected, each.found) for each in found] == [("HVC_SET_VECTORS", 2, 7)]


def test_a_patch_that_does_not_follow_the_one_before_is_seen() -> None:
    first, *rest = [path for path in SERIES if HEADER in patches.files(path)]
    with pytest.raises(AssertionError, match="is not"):
        patches.made(HEADER, [first, *reversed(rest)])


@pytest.mark.parametrize("profile", ["iss-6.12", "iss-6.12-scs"])
def test_the_scratch_registers_are_those_that_the_profile_gives_away(profile: str) -> None:
    header = patches.made(HEADER, SERIES)
    keep, free = re.findall(r"^#define hcall_lr\t+(x\d+)$", header, re.MULTILINE)
    tmp = re.findall(r"^#define hcall_tmp\t+(x\d+)$", header, re.MULTILINE)
    lr = keep if profile.endswith("-scs") else free
    contract = abi.load(profile).named("HVC_CALL_FUNC", "hyp-stub")
    assert contract.clobbers == {*tmp, lr}


def test_every_broken_kernel_is_listed_and_there() -> None:
    names = [each["name"] for each in LISTED]
    assert names == list(dict.fromkeys(names))
    assert {f"{name}.patch" for name in names} == {p.name for p in patches.BROKEN.glob("*.patch")}
    assert len(names) >= 12


@pytest.mark.parametrize("broken", LISTED, ids=_name)
def test_a_broken_kernel_says_what_it_must_be_accused_of(broken: dict[str, Any]) -> None:
    assert {"name", "about", "server", "rule", "hcall", "what", "suite", "leg"} <= broken.keys()
    assert broken.keys() <= {
        *("name", "about", "server", "rule", "hcall", "what", "suite", "leg"),
        *("cpu", "config", "boots", "served"),
    }
    profile = abi.load("iss-6.12")
    assert broken["server"] in {*profile.servers, "caller"}
    assert ("served" in broken) == (broken["server"] == "caller")
    assert set(broken.get("served", [])) <= profile.servers.keys()
    assert broken["hcall"] in {*profile.numbers, abi.UNKNOWN}
    assert broken["rule"] in {*RULES, *(rule.id for rule in entry.RULES), *DEADLY}


@pytest.mark.parametrize("broken", LISTED, ids=_name)
def test_a_broken_kernel_changes_one_assembler_file(broken: dict[str, Any]) -> None:
    patch = patches.BROKEN / f"{broken['name']}.patch"
    assert patch.read_text().startswith("SPDX-License-Identifier: GPL-2.0-only\n")
    touched = patches.files(patch)
    assert len(touched) == 1
    assert touched <= {name for name in ALLOWED if name.endswith(".S")}


@pytest.mark.parametrize("broken", LISTED, ids=_name)
def test_a_broken_kernel_asks_for_its_configuration_in_both_places(broken: dict[str, Any]) -> None:
    text = (patches.BROKEN / f"{broken['name']}.patch").read_text()
    message, _, _ = text.partition("\n---\n")
    assert re.findall(r"^Config: (\w+)$", message, re.MULTILINE) == [
        *([broken["config"]] if "config" in broken else [])
    ]
