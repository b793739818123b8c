# SPDX-License-Identifier: Apache-2.0
"""Kernels: what is built when, what is kept, and whose fault a failure is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build import cache, kernel, make, source
from hilagent.errors import InputError, LabError, TargetError, UsageError
from tests.build import kerneltree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[kerneltree.Tree]:
    yield from kerneltree.make_tree(tmp_path, monkeypatch)


def test_a_kernel_is_built_once(tree: kerneltree.Tree) -> None:
    assert kernel.cached("patched") is None
    built = kernel.build_kernel("patched")
    assert tree.calls() == ["allnoconfig", "olddefconfig", "Image"]
    assert kernel.build_kernel("patched") == kernel.cached("patched") == built
    assert tree.calls() == ["allnoconfig", "olddefconfig", "Image"]
    assert (built.release, built.version, built.abi) == ("6.12.117-test", "6.12.117", "iss-6.12")
    assert built.image.read_text().splitlines()[:4] == [built.build, "one", "two", "3"]
    assert built.vmlinux is not None
    assert built.config is not None
    assert built.tree is not None


@pytest.mark.parametrize("form", ["as it is", "absolute"])
def test_a_kernel_whose_tree_is_gone_is_built_again(tree: kerneltree.Tree, form: str) -> None:
    built = kernel.build_kernel("patched")
    facts = built.image.parent / "kernel.json"
    assert built.tree is not None
    if form == "absolute":  # as the first caches have it
        text = json.dumps({**json.loads(facts.read_text()), "tree": str(built.tree)})
        facts.write_text(text)
    assert kernel.cached("patched") == built
    shutil.rmtree(built.tree)
    assert kernel.cached("patched") is None
    assert kernel.build_kernel("patched") == kernel.cached("patched") == built
    assert built.tree.is_dir()


def test_a_cache_can_be_moved(
    tree: kerneltree.Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = kernel.build_kernel("patched")
    (tmp_path / "cache").rename(tmp_path / "moved")
    monkeypatch.setenv(cache.ENV, str(tmp_path / "moved"))
    moved = kernel.cached("patched")
    assert built.tree is not None
    assert moved is not None
    assert moved.tree == tmp_path / "moved" / built.tree.relative_to(tmp_path / "cache")


def test_an_entry_that_names_the_tree_of_another_cache_is_replaced(tree: kerneltree.Tree) -> None:
    built = kernel.build_kernel("patched")
    facts = built.image.parent / "kernel.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "tree": "/nowhere/out-1"}))
    assert kernel.cached("patched") is None
    assert kernel.build_kernel("patched") == built


def test_the_series_can_be_left_out_again(tree: kerneltree.Tree) -> None:
    patched, unpatched = kernel.build_kernel("patched"), kernel.build_kernel("unpatched")
    assert tree.code.read_text().splitlines()[2] == "three"
    assert unpatched.abi == "x0-mainline"
    assert patched.tree == unpatched.tree
    assert patched.digest != unpatched.digest
    assert tree.calls().count("allnoconfig") == 1


def test_a_changed_patch_makes_another_kernel_of_the_same_objects(tree: kerneltree.Tree) -> None:
    first = kernel.build_kernel("patched")
    tree.in_series("three", "III")
    second = kernel.build_kernel("patched")
    assert second.digest != first.digest
    assert second.tree == first.tree
    assert tree.calls().count("allnoconfig") == 1


def test_a_broken_kernel_is_the_series_and_one_more_patch(tree: kerneltree.Tree) -> None:
    tree.broken("wrong", "six", "6")
    built = kernel.build_kernel("broken:wrong")
    assert tree.code.read_text().split() == ["one", "two", "3", "four", "five", "6", "seven"]
    assert (built.name, built.abi) == ("broken:wrong", "iss-6.12")
    kernel.build_kernel("unpatched")
    assert tree.code.read_text().split()[5] == "six"


def test_a_broken_kernel_can_ask_for_the_shadow_call_stack(tree: kerneltree.Tree) -> None:
    tree.broken("stack", "six", "6", message="Config: scs\n")
    built = kernel.build_kernel("broken:stack")
    assert built.abi == "iss-6.12-scs"
    assert built.config is not None
    assert "CONFIG_S=y" in built.config.read_text()


def test_a_broken_kernel_can_be_anywhere(tree: kerneltree.Tree, tmp_path: Path) -> None:
    (tmp_path / "mine.patch").write_text(kerneltree.patch_text("six", "6"))
    assert kernel.build_kernel(f"broken:{tmp_path}/mine.patch").image.is_file()


def test_an_unknown_name_says_what_there_is(tree: kerneltree.Tree) -> None:
    tree.broken("wrong", "six", "6")
    with pytest.raises(UsageError, match="no kernel named 'broken:rong'") as caught:
        kernel.build_kernel("broken:rong")
    assert "broken:wrong" in caught.value.hint


def test_an_option_that_did_not_survive_is_named(tree: kerneltree.Tree) -> None:
    tree.drop("CONFIG_A=y")
    with pytest.raises(InputError) as caught:
        kernel.build_kernel("patched")
    assert str(caught.value).endswith(
        "virt.config:2: CONFIG_A: wanted y, found n after olddefconfig (not set)"
    )
    assert "Image" not in tree.calls()


def test_a_kernel_that_does_not_build_is_accused_with_the_first_error(
    tree: kerneltree.Tree,
) -> None:
    tree.in_series("three", "ERROR")
    with pytest.raises(TargetError) as caught:
        kernel.build_kernel("patched")
    lines = str(caught.value).splitlines()
    assert lines[0] == "the kernel doesn't build (make Image modules):"
    assert lines[1].startswith("arch/arm64/code.S:4: Error: unknown mnemonic")
    tree.in_series("three", "3")
    assert kernel.build_kernel("patched").image.is_file()


def test_a_full_disk_is_the_labs(tree: kerneltree.Tree) -> None:
    tree.in_series("three", "FULL")
    with pytest.raises(LabError, match="the disk is full"):
        kernel.build_kernel("patched")


def test_a_missing_tool_is_named_before_anything_is_unpacked(
    tree: kerneltree.Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(make.TOOLS, "no-such-tool", "some-package")
    with pytest.raises(LabError, match="some-package is missing") as caught:
        kernel.build_kernel("patched")
    assert caught.value.hint.endswith("some-package")
    assert tree.calls() == []


def test_a_series_that_another_version_does_not_take_names_both(
    tree: kerneltree.Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.in_series("three", "3")
    tree.code.write_text("one\ntwo\nTHREE\nfour\nfive\nsix\nseven\n")
    monkeypatch.setattr(source, "unpacked", lambda *_: source.Source(tree.folder, "6.12.120", "x"))
    with pytest.raises(LabError) as caught:
        kernel.build_kernel("patched")
    assert "held against Linux 6.12.117; this is 6.12.120" in str(caught.value)
    assert "patch failed: arch/arm64/code.S:1" in str(caught.value)


def test_a_patch_that_does_not_apply_to_its_own_version_is_its_fault(
    tree: kerneltree.Tree,
) -> None:
    tree.in_series("THREE", "3")
    with pytest.raises(InputError, match=r"0001-x\.patch: does not apply to Linux 6\.12\.117"):
        kernel.build_kernel("patched")
    assert tree.code.read_text().splitlines()[2] == "three"


def test_a_patch_is_applied_without_fuzz(tree: kerneltree.Tree) -> None:
    tree.code.write_text("one\nTWO\nthree\nfour\nfive\nsix\nseven\n")
    with pytest.raises(InputError, match="does not apply"):
        kernel.build_kernel("patched")


def test_what_may_be_half_written_after_a_kill_is_built_again(tree: kerneltree.Tree) -> None:
    built = kernel.build_kernel("patched")
    assert built.tree is not None
    old, new = built.tree / "old.o", built.tree / "half-written.o"
    for path in (old, new):
        path.touch()
    os.utime(old, (1e9, 1e9))
    (built.tree / kernel._STATE).write_text(kernel._BUILDING)
    kernel.build_kernel("unpatched")
    assert old.exists()
    assert not new.exists()
    assert tree.calls().count("allnoconfig") == 2  # .config was as young


def test_progress_counts_the_objects(tree: kerneltree.Tree) -> None:
    seen: list[tuple[int, int, str]] = []
    kernel.build_kernel("patched", progress=lambda *step: seen.append(step))
    assert (2, kernel._STEPS, "AS arch/arm64/code.o") in seen
    seen.clear()
    kernel.build_kernel("scs", progress=lambda *step: seen.append(step))
    assert seen[-1][0] == 2
    tree.in_series("three", "III")
    seen.clear()
    kernel.build_kernel("patched", progress=lambda *step: seen.append(step))
    assert (2, 0, "AS arch/arm64/code.o") in seen


def test_only_what_a_patch_touches_is_written_again(tree: kerneltree.Tree) -> None:
    other = tree.folder / "arch/arm64/Makefile"
    os.utime(other, (1, 1))
    os.utime(tree.code, (1, 1))
    kernel.build_kernel("patched")
    first = tree.code.stat().st_mtime_ns
    tree.broken("elsewhere", "x", "y")
    (tree.kernel / "broken/elsewhere.patch").write_text(
        "diff --git a/new.S b/new.S\nnew file mode 100644\n--- /dev/null\n+++ b/new.S\n"
        "@@ -0,0 +1 @@\n+nop\n"
    )
    kernel.build_kernel("broken:elsewhere")
    assert (tree.folder / "new.S").read_text() == "nop\n"
    assert tree.code.stat().st_mtime_ns == first > 10**9
    assert other.stat().st_mtime == 1
    kernel.build_kernel("unpatched")
    assert not (tree.folder / "new.S").exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil"])
def test_a_patch_stays_in_the_tree(tree: kerneltree.Tree, name: str, tmp_path: Path) -> None:
    patch = tmp_path / "evil.patch"
    patch.write_text(kerneltree.patch_text("three", "3", file=name))
    with pytest.raises(InputError, match="outside the source"):
        source.touched([patch])


def test_a_labs_own_tree_is_only_read(tree: kerneltree.Tree, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "arch/arm64").mkdir(parents=True)
    for name in ("Makefile", "arch/arm64/Makefile", "arch/arm64/code.S", "drops"):
        (own / name).write_bytes((tree.folder / name).read_bytes())
    before = {p: p.stat().st_mtime_ns for p in own.rglob("*") if p.is_file()}
    built = kernel.build_kernel(source=own)
    after = {p: p.stat().st_mtime_ns for p in own.rglob("*") if p.is_file()}
    del after[own / "calls"]  # the fake's own
    assert after == before
    assert (built.name, built.version, built.abi) == ("given", "6.12.117", "x0-mainline")
    (own / ".config").touch()
    with pytest.raises(InputError, match="built in place") as caught:
        kernel.build_kernel(source=own)
    assert "mrproper" in caught.value.hint


def test_what_is_no_kernel_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a kernel tree"):
        kernel.build_kernel(source=tmp_path)
