# SPDX-License-Identifier: Apache-2.0
"""arm64 packages by an apt-get that only writes down what it is asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hilagent.build import cache, debian
from hilagent.errors import LabError

# Lists what isn't in its archives, as apt does, and fetches it; `fails` makes it fail once.
_APT = r"""#!/bin/sh
echo "apt-get $*" >>%(home)s/calls
for word; do case $word in
    Dir::Cache::archives=*) archives=${word#*=} ;;
    --print-uris) show=1 ;;
    Dir::Etc::sourcelist=*) sources=$(cat "${word#*=}") ;;
    update) [ "$sources" ] && [ -e %(home)s/no-security ] && exit 100
        touch %(home)s/lists-arm64/x_Packages; exit 0 ;;
    indextargets) echo "http://own/debian bookworm main Own"
        echo "http://mirror/debian/ bookworm-updates main Debian"
        echo "http://mirror/debian/ bookworm main Debian"; exit 0 ;;
esac; done
case "$sources" in
    *" http://mirror/debian-security bookworm-security main"*) rm -f %(home)s/in-security ;;
    *" http://mirror/debian bookworm-backports main"*) touch %(home)s/backported ;;
esac
if [ -e %(home)s/in-security ]; then cat %(home)s/in-security; exit 100; fi
if [ -e %(home)s/fails ]; then
    cat %(home)s/fails; [ -e %(home)s/always ] || rm %(home)s/fails; exit 100
fi
name=busybox_1%%3a1.35-1_arm64.deb
if [ "$show" ]; then
    [ -e "$archives/$name" ] || echo "'http://mirror/$name' $name 5 SHA256:00"
else
    echo "dlstatus:1:50.0:Retrieving file 1 of 1"
    echo deb >"$archives/$name"
fi
"""
_CACHE = r"""#!/bin/sh
echo "apt-cache $*" >>%(home)s/calls
case "$*" in
    *sourcelist*" new"*) printf 'Package: new\nDepends: new-6.12\n' ;;
    *" image"*) printf 'Package: image\nDepends: image-6.12 (= 1), base | other\n' ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of apt's private state, with the fakes on the PATH."""
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    home = cache.folder("debian")
    for name, text in (("apt-get", _APT), ("apt-cache", _CACHE)):
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(text % {"home": home})
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return home


def calls(home: Path) -> list[str]:
    path = home / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_a_package_is_fetched_once_and_then_without_apt(home: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    (package,) = debian.fetch(["busybox"], progress=lambda *step: steps.append(step))
    assert (package.name, package.version) == ("busybox", "1:1.35-1")
    assert package.deb.read_text() == "deb\n"
    assert (50, 100, "Retrieving file 1 of 1") in steps
    before = calls(home)
    assert len(before) == 3  # update, list, download
    assert debian.fetch(["busybox"]) == debian.known(["busybox"]) == (package,)
    assert calls(home) == before


def test_apt_is_given_a_state_of_its_own(home: Path) -> None:
    debian.fetch(["busybox"], depends=True)
    for call in calls(home):
        assert f"-c {home}/apt.conf" in call
    assert "install --download-only --no-install-recommends -y busybox" in calls(home)[-1]
    conf = (home / "apt.conf").read_text()
    paths = re.findall(r'"(/[^"]*)"', conf)
    assert paths
    assert all(path.startswith(str(home)) for path in paths)
    assert 'APT::Architectures { "arm64"; };' in conf
    assert "#clear APT::Update;" in conf  # hooks of the host's apt are the host's
    assert "Etc" not in conf  # its sources, keys and pins are used where they are
    assert "AllowUnauthenticated" not in conf
    assert "AllowInsecure" not in conf


def test_old_package_lists_are_brought_up_to_date_once(home: Path) -> None:
    (home / "fails").write_text("E: Failed to fetch http://mirror/x  404  Not Found\n")
    (package,) = debian.fetch(["busybox"])
    assert package.deb.is_file()
    assert [" update" in call for call in calls(home)] == [True, False, True, False, False]


def test_a_package_that_no_source_has_is_named_with_what_to_do(home: Path) -> None:
    (home / "fails").write_text("E: Unable to locate package linux-source-6.12\n")
    (home / "always").touch()
    with pytest.raises(LabError, match=r"linux-source-6\.12 \(arm64\) is in none") as caught:
        debian.fetch(["linux-source-6.12"])
    assert "bookworm-security" in caught.value.hint
    assert "--source DIR" in caught.value.hint


def test_what_only_the_security_suite_has_is_taken_from_there(home: Path) -> None:
    (home / "in-security").write_text("E: Unable to locate package busybox\n")
    (package,) = debian.fetch(["busybox"])
    assert package.deb.is_file()
    updates = [" update" in call for call in calls(home)]
    assert updates.count(True) == 3  # at first, in case the lists are old, and with that suite
    assert debian.depends("new") == ["new-6.12"]
    assert "AllowInsecure" not in (home / "sources.list").read_text()
    assert "trusted=" not in (home / "sources.list").read_text()


@pytest.mark.parametrize("ask", [lambda: debian.fetch(["new"]), lambda: debian.depends("gone")])
def test_a_mirror_without_that_suite_changes_nothing(home: Path, ask: Callable[[], object]) -> None:
    (home / "in-security").write_text("E: Unable to locate package new\n")
    (home / "no-security").touch()
    with pytest.raises(LabError, match=r"(new|gone) \(arm64\) is in none"):
        ask()
    assert not (home / "sources.list").exists()


def test_backports_have_an_apt_of_their_own_and_are_asked_for_by_name(home: Path) -> None:
    (package,) = debian.fetch(["busybox"], for_host=True, backports=True)
    assert package.deb.parent == cache.root() / "debian-backports" / "archives"
    assert (home / "backported").exists()
    assert calls(home)[-1].endswith(" download busybox/bookworm-backports")
    assert not (home / "sources.list").exists()  # what is fetched otherwise has no part in it
    before = calls(home)
    assert debian.fetch(["busybox"], for_host=True, backports=True) == (package,)
    assert calls(home) == before
    assert debian.known(["busybox"], for_host=True) == ()


def test_a_mirror_without_backports_is_named(home: Path) -> None:
    (home / "no-security").touch()
    with pytest.raises(LabError, match="the backports of this host's Debian can't be read"):
        debian.fetch(["busybox"], for_host=True, backports=True)


def test_another_failure_is_told_in_apts_words(home: Path) -> None:
    (home / "fails").write_text("E: The repository is not signed.\n")
    (home / "always").touch()
    with pytest.raises(LabError, match=r"apt-get failed \(exit 100\):\nE: The repository is not"):
        debian.fetch(["busybox"])
    assert debian.known(["busybox"]) == ()


def test_refresh_asks_again(home: Path) -> None:
    debian.fetch(["busybox"])
    before = len(calls(home))
    debian.fetch(["busybox"], refresh=True)
    assert " update" in calls(home)[before]


def test_a_host_without_apt_is_told_what_else_there_is(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="this host has none") as caught:
        debian.fetch(["busybox"])
    assert "--artifacts" in caught.value.hint


def test_a_meta_package_is_followed_and_remembered(home: Path) -> None:
    assert debian.depends("image") == ["image-6.12", "base"]
    before = calls(home)
    assert debian.depends("image") == ["image-6.12", "base"]
    assert calls(home) == before
    with pytest.raises(LabError, match=r"nothing .* is in none"):
        debian.depends("nothing")
