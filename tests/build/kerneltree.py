# SPDX-License-Identifier: Apache-2.0
"""A kernel tree of a few files, a make that only acts as if, and a series for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hilagent.build import cache, debian, series, source

VERSION = "6.12.117"
_MAKEFILE = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\n"
_CODE = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"

# kconfig drops what the file `drops` lists; the build fails if the code says so.
_MAKE = r"""#!/bin/sh
here=$(pwd); config=.config
for word; do case $word in
    O=*) out=${word#O=} ;;
    KCONFIG_CONFIG=*) config=${word#*=} ;;
    KBUILD_BUILD_VERSION=*) build=${word#*=} ;;
    allnoconfig | olddefconfig | Image) target=$word ;;
esac; done
echo "$target" >>"$here/calls"
case $out in /*) ;; *) out=$here/$out ;; esac
case $target in
allnoconfig) echo "# CONFIG_BASE is not set" >"$out/$config" ;;
olddefconfig)
    grep -v -x -F -f "$here/drops" "$out/$config" >"$out/new"
    mv "$out/new" "$out/$config" ;;
Image)
    echo "  CC      init/main.o"
    echo "  AS      arch/arm64/code.o"
    if grep -q ERROR "$here/arch/arm64/code.S"; then
        echo "arch/arm64/code.S:4: Error: unknown mnemonic \`hvcc'" >&2
        echo "make[1]: *** [code.o] Error 1" >&2
        exit 2
    fi
    grep -q FULL "$here/arch/arm64/code.S" && echo "x.o: No space left on device" && exit 2
    mkdir -p "$out/arch/arm64/boot" "$out/include/config"
    (echo "$build"; cat "$here/arch/arm64/code.S") >"$out/arch/arm64/boot/Image"
    touch "$out/vmlinux" "$out/System.map"
    echo 6.12.117-test >"$out/include/config/kernel.release" ;;
esac
"""


@dataclass
class Tree:
    """What a test looks at and changes."""

    folder: Path
    kernel: Path
    code: Path

    def calls(self) -> list[str]:
        """The targets that make was asked for, so far."""
        path = self.folder / "calls"
        return path.read_text().split() if path.exists() else []

    def drop(self, *lines: str) -> None:
        """Let kconfig drop these lines."""
        (self.folder / "drops").write_text("".join(f"{line}\n" for line in lines) or "#\n")

    def broken(self, name: str, old: str, new: str, message: str = "") -> None:
        """Add a broken kernel whose patch changes one line of what the series leaves."""
        text = self.kernel / "broken" / f"{name}.patch"
        text.write_text(f"Subject: {name}\n\n{message}\n{patch_text(old, new)}")

    def in_series(self, old: str, new: str) -> None:
        """Make the series one patch that changes this line."""
        (self.kernel / "patches/6.12/0001-x.patch").write_text(patch_text(old, new))


def patch_text(old: str, new: str, file: str = "arch/arm64/code.S") -> str:
    """A patch of the line between two others; `three` is line 3 of the original."""
    lines = _CODE.split()
    at = lines.index(old) if old in lines else 2
    before, after = lines[max(at - 2, 0) : at], lines[at + 1 : at + 3]
    head = f"diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n"
    first = max(at - 2, 0) + 1
    count = len(before) + 1 + len(after)
    body = [*(f" {x}" for x in before), f"-{old}", f"+{new}", *(f" {x}" for x in after)]
    return head + f"@@ -{first},{count} +{first},{count} @@\n" + "\n".join(body) + "\n"


def make_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    """Set everything up: the cache, the tree as Debian's source, the series, make."""
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    folder = tmp_path / "cache/linux/linux-source-6.12_6.12.117-1_all/linux"
    (folder / "arch/arm64").mkdir(parents=True)
    (folder / "Makefile").write_text(_MAKEFILE)
    (folder / "arch/arm64/Makefile").touch()
    (folder / "arch/arm64/code.S").write_text(_CODE)
    package = debian.Package(tmp_path / f"linux-source-6.12_{VERSION}-1_all.deb")
    monkeypatch.setattr(source, "package", lambda progress, refresh=False: package)
    monkeypatch.setattr(source, "known_package", lambda: package)
    kernel = tmp_path / "firmware"
    for part in ("patches/6.12", "config", "broken"):
        (kernel / part).mkdir(parents=True)
    (kernel / "patches/6.12/series").write_text(f"# kernel: {VERSION}\n0001-x.patch\n")
    (kernel / "config/virt.config").write_text("# comment\nCONFIG_A=y\n")
    (kernel / "config/scs.config").write_text("CONFIG_S=y\n")
    monkeypatch.setattr(series, "folder", lambda: kernel)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {
        "make": _MAKE,
        **dict.fromkeys(("flex", "bison", "bc"), "#!/bin/sh"),
    }.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    tree = Tree(folder, kernel, folder / "arch/arm64/code.S")
    tree.drop()
    tree.in_series("three", "3")
    yield tree
