# SPDX-License-Identifier: Apache-2.0
"""A board that boots a system of its own: reached by SSH, left by kexec, blamed for both."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.board import Board
from hilagent.board.model import OsSpec, Ssh
from hilagent.journal import Journal
from hilagent.session import quarantine
from hilagent.session.built import Built
from hilagent.session.linux import Boot
from hilagent.session.own import OwnSystem
from hilagent.session.settings import Request, look_up
from hilagent.testing.ssh import SshServer
from hilagent.transport import known
from hilagent.transport.ssh import silent
from tests.console.helper import FarEnd
from tests.console.test_watch import PANIC
from tests.linux import fake_board
from tests.session.test_linux import Bench, Switch

IMAGE = bytes(56) + b"ARM\x64" + bytes(1000)
BOOT_ID = "proc/sys/kernel/random/boot_id"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fake_board.make(tmp_path / "board")


@pytest.fixture
def server(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    monkeypatch.setenv(known.ENVIRONMENT, str(tmp_path / "hosts"))
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    with SshServer(root=root) as server:
        target = server.target("own/os")
        (key,) = known.read(target.known_hosts)["own/os"]
        known.pin(known.path_of("own"), "own/os", key)
        yield server


def board_of(server: SshServer) -> Board:
    ssh = Ssh(host=server.host, port=server.port, key=str(server.key_file))
    virt = boards.load("qemu-virt")
    assert virt.linux is not None
    return dataclasses.replace(
        virt, name="own", uboot=None, transfers=("ymodem",), os=OsSpec(ssh, boot_timeout_s=10.0),
        linux=dataclasses.replace(virt.linux, boot_timeout_s=0.5),
    )  # fmt: skip


def own_of(server: SshServer, tmp_path: Path, console: Any = None) -> OwnSystem:
    journal = Journal(tmp_path)
    return OwnSystem(board_of(server), journal, cast(Any, Switch()), lambda: console)


def test_it_is_reached_by_its_pinned_key(server: SshServer, tmp_path: Path) -> None:
    assert own_of(server, tmp_path).reach().run_id is None


def test_a_key_that_nobody_pinned_is_the_labs(server: SshServer, tmp_path: Path) -> None:
    known.path_of("own").unlink()
    with pytest.raises(errors.LabError, match="own/os"):
        own_of(server, tmp_path).reach()


def test_a_switch_that_does_not_switch_is_found_out(
    server: SshServer, tmp_path: Path, root: Path
) -> None:
    own = own_of(server, tmp_path)
    own.reach()
    stale = "still the boot from before power was cycled"
    with pytest.raises(errors.LabError, match=stale) as slow:
        own.reach()
    assert not isinstance(slow.value, errors.PowerLied)
    assert quarantine.found(board_of(server)) is None
    with pytest.raises(errors.PowerLied, match=f"{stale}, 2 times") as lied:
        own.reach()
    assert "in quarantine until 'hilagent doctor own' finds it well" in lied.value.hint
    assert quarantine.found(board_of(server)) is not None
    (root / BOOT_ID).write_text("9f2e6c9e-5c3d-4a5c-8f0e-000000000002\n")
    own.reach()


def test_an_image_is_loaded_and_gone_to(server: SshServer, tmp_path: Path, root: Path) -> None:
    os.mkfifo(root / "left")
    tells = 'if [ "$1" = exec ]; then echo gone >"$HOME/left"; fi\n'
    fake_board.program(root / "sbin/hilkexec", tells + fake_board.LOADS)
    with FarEnd() as far:
        own = own_of(server, tmp_path, far.console)
        own.kexec(own.reach(), IMAGE, b"initrd", "quiet", progress=silent)
        assert (root / "left").read_text() == "gone\n"  # it goes on without us: wait for it
    assert "--cmdline quiet --syscall file" in (root / "calls").read_text()


def test_a_kernel_without_the_newer_call_is_asked_by_the_older(
    server: SshServer, tmp_path: Path, root: Path
) -> None:
    lacks = 'case "$*" in *file) echo Function not implemented >&2; exit 1 ;; esac\n'
    fake_board.program(root / "sbin/hilkexec", lacks + fake_board.LOADS)
    with FarEnd() as far:
        own = own_of(server, tmp_path, far.console)
        own.kexec(own.reach(), IMAGE, progress=silent)
    assert "--syscall load" in (root / "calls").read_text()


def test_a_tree_of_ours_goes_by_the_call_that_takes_one(
    server: SshServer, tmp_path: Path, root: Path
) -> None:
    with FarEnd() as far:
        own = own_of(server, tmp_path, far.console)
        own.kexec(own.reach(), IMAGE, progress=silent, dtb=b"a tree")
    calls = (root / "calls").read_text()
    assert f"--dtb {root}/run/hilagent/next-dtb --cmdline  --syscall load" in calls
    assert (root / "run/hilagent/next-dtb").read_bytes() == b"a tree"
    fake_board.refuses(root, "Function not implemented")
    (root / BOOT_ID).write_text("9f2e6c9e-5c3d-4a5c-8f0e-000000000002\n")
    with pytest.raises(errors.PreconditionError, match="kexec_load"):
        own.kexec(own.reach(), IMAGE, progress=silent, dtb=b"a tree")


def test_a_kernel_that_never_takes_another_is_the_labs(
    server: SshServer, tmp_path: Path, root: Path
) -> None:
    busy = "echo Device or resource busy >&2; exit 1"
    fake_board.program(root / "sbin/hilkexec", busy)
    (root / "log").write_text(
        fake_board.LOG + "<3>[    9.0] kexec: CPUs are stuck in the kernel.\n"
    )
    own = own_of(server, tmp_path)
    with pytest.raises(errors.LabError, match="busy"):
        own.kexec(own.reach(), IMAGE, progress=silent)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("Function not implemented", "own system can't start another kernel"),
        ("Operation not permitted", "not permitted"),
    ],
)
def test_a_kernel_that_lets_nobody_start_another_is_a_precondition(
    server: SshServer, tmp_path: Path, root: Path, why: str, said: str
) -> None:
    """Neither call is there, or lockdown wants a signed Image: the lab can't help that."""
    fake_board.refuses(root, why)
    own = own_of(server, tmp_path)
    with pytest.raises(errors.PreconditionError, match=said):
        own.kexec(own.reach(), IMAGE, progress=silent)


WORD = b"[    0.000000] Booting Linux on physical CPU 0x0000000000\r\n"
NOTHING = "own system did a kexec, and patched never said a word"


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (b"", errors.LabError, NOTHING),
        (PANIC, errors.LabError, f"{NOTHING}: .*panic"),
        (WORD, errors.TargetHang, "never got ready"),
        (WORD + PANIC, errors.TargetCrash, "panic"),
    ],
    ids=["nothing", "panic", "word", "word and panic"],
)
def test_what_never_spoke_after_its_kexec_does_not_accuse_the_kernel(
    server: SshServer,
    tmp_path: Path,
    said: bytes,
    kind: type[errors.HilagentError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once the new kernel has said its first word, what follows is its own affair."""
    image = tmp_path / "Image"
    image.write_bytes(IMAGE)
    build = Bench._build

    def built(self: Bench, name: str) -> Built:
        made = build(self, name)
        kernel = dataclasses.replace(made.kernel, image=image)
        return dataclasses.replace(
            made, kernel=kernel, rootfs=dataclasses.replace(made.rootfs, archive=image)
        )

    monkeypatch.setattr(Bench, "_build", built)
    with FarEnd() as far:
        own = own_of(server, tmp_path, far.console)
        kexec = OwnSystem.kexec

        def goes(self: OwnSystem, *args: Any, **how: Any) -> Any:
            line = kexec(self, *args, **how)
            far.say(said)
            return line

        monkeypatch.setattr(OwnSystem, "kexec", goes)
        (tmp_path / "run").mkdir()
        bench = Bench(
            board_of(server), Journal(tmp_path / "run"), cast(Any, Switch()), lambda: far.console,
            lambda since_s: 0.0, tmp_path,
        )  # fmt: skip
        with pytest.raises(kind, match=message):
            bench.start_by_kexec(own, own.reach(), Boot("patched"))


def test_a_board_with_no_way_in_is_the_callers_mistake(tmp_path: Path) -> None:
    for block, said in (("", "has no way in"), ("os: {ssh: {via: qemu}}\n", "")):
        path = tmp_path / "mine.yaml"
        path.write_text(
            "schema: 1\nname: mine\ndescription: x\nsoc: x\nemulated: true\ncpus: 1\n"
            "console: {kind: qemu}\npower: {kind: qemu}\npayload: {}\n"
            "qemu: {machine: virt, cpu: max, smp: 1, memory_mib: 512, kernel: Image}\n" + block
        )
        request = Request(board=str(path))
        if said:
            with pytest.raises(errors.UsageError, match=said):
                look_up(request)
            continue
        assert look_up(request).board.os is not None
        with pytest.raises(errors.UsageError, match="can't load by tftp") as caught:
            look_up(dataclasses.replace(request, transfer="tftp"))
        assert "kexec" in caught.value.hint
