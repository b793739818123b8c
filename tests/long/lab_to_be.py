# SPDX-License-Identifier: Apache-2.0
"""A host that becomes a lab host, and the inventory that says how."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hilagent.clock import Deadline
from tests import ansible_env, tree
from tests.ansible.played import Played
from tests.long import booted

PYTHON = "/opt/hilagent/venv/bin/python"
LIB = "/usr/local/lib/hilagent"
RUNNING = (
    *("hilagent-tftp.service", "ser2net.service", "hilagent-prune.timer"),
    *("hilagent-disk-space.timer", "labgrid-coordinator.service", "labgrid-exporter.service"),
)
ROCK = """\
  rock:
    extends: rock-pi-4
    console: {kind: rfc2217, host: ADDRESS, port: 4001, baud: 1500000}
    power: {kind: command, on: [/usr/local/bin/outlet, "on"], off: [/usr/local/bin/outlet, "off"]}
    linux: {ssh: {host: 192.0.2.19}}
""".replace("ADDRESS", booted.ADDRESS)
LAB = f"""\
labhost_packages:
  - socat
  - qemu-system-arm
  - u-boot-qemu
  - device-tree-compiler
  - gcc-aarch64-linux-gnu
  - libc6-dev-arm64-cross
labhost_serial:
  - {{name: rock, path: "platform-usb-0:1.4:1.0", port: 4001, baud: 1500000}}
  - {{name: pi, path: "platform-usb-0:1.5:1.0"}}
labhost_ser2net: true
labhost_ser2net_address: {booted.ADDRESS}
labhost_tftp: {{interface: lab0, dir: /srv/tftp}}
labhost_known_hosts:
  rock: {{os: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtk0JUG5Y5c7FQKZn5dNbkqEmEUhKEEyyWWpyMCI4Bm]}}
labhost_secrets: {{bmc7: "{{{{ vault_bmc7 }}}}"}}
labhost_labgrid_coordinator: 127.0.0.1:20408
labhost_boards:
{ROCK}labhost_labgrid_exporter:
  rock-a:
    NetworkSerialPort: {{host: {booted.ADDRESS}, port: 4001, protocol: rfc2217}}
"""
OUTLET = """\
#!/bin/sh
echo "$1" > /srv/hilagent/outlet
"""
_STAY = "import pathlib, sys; pathlib.Path('/dev/hilagent').mkdir(exist_ok=True)"


def wheel(folder: Path) -> Path:
    """Return a wheel of this tree."""
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(argv, cwd=tree.TOP, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def lock() -> str:
    """Return what requirements.lock has of the packages that hilagent itself depends on."""
    wanted, found = ["hilagent"], set[str]()
    while wanted:
        for line in importlib.metadata.requires(wanted.pop()) or []:
            need = Requirement(line)
            name = canonicalize_name(need.name)
            if name not in found and (need.marker is None or need.marker.evaluate({"extra": ""})):
                found.add(name)
                wanted.append(name)
    pins = re.split(r"^(?=[a-z0-9])", (tree.TOP / "requirements.lock").read_text(), flags=re.M)
    return "".join(pin for pin in pins if pin.split("==")[0] in found)


class Lab:
    """One host, and what Ansible is told of it.

    Attributes:
        took_s: how long the last run of the playbook took.
    """

    def __init__(self, suite: str, machine: booted.Machine, folder: Path, wheel: Path) -> None:
        self.suite, self.machine, self.folder, self.wheel = suite, machine, folder, wheel
        self.took_s = 0.0
        said = folder / "inventory/group_vars/labhosts"
        said.mkdir(parents=True)
        (folder / "inventory/hosts.yml").write_text(machine.inventory())
        (folder / "hilagent.lock").write_text(lock())
        (folder / "password").write_text("of the vault\n")
        (said / "vault.yml").write_text("vault_bmc7: sesame\n")
        vault = ["ansible-vault", "encrypt", "--vault-password-file", str(folder / "password")]
        done = ansible_env.run([*vault, str(said / "vault.yml")], folder / "home")
        assert done.returncode == 0, done.stdout
        assert "sesame" not in (said / "vault.yml").read_text()
        self.inventory(LAB)

    def inventory(self, text: str) -> None:
        """Say what the host is to be."""
        wheel, lock = self.wheel, self.folder / "hilagent.lock"
        sources = f"labhost_hilagent_wheel: {wheel}\nlabhost_hilagent_lock: {lock}\n"
        (self.folder / "inventory/group_vars/labhosts/main.yml").write_text(sources + text)

    def play(self, *more: str) -> Played:
        """Run site.yml, as a user would."""
        began = time.monotonic()
        argv = ["ansible-playbook", "-i", str(self.folder / "inventory"), "site.yml"]
        argv += ["--vault-password-file", str(self.folder / "password"), *more]
        played = Played.of(ansible_env.run(argv, self.folder / "home"))
        self.took_s = time.monotonic() - began
        return played

    def as_user(self, *argv: str) -> str:
        """Run a command as the service user; return what it said. It must succeed."""
        done = self.machine.run(*argv, user="hilagent")
        assert done.returncode == 0, done.stdout
        return done.stdout

    def until(self, *argv: str, says: str) -> None:
        """Run a command as the service user until its output has these words in it."""
        deadline = Deadline.after(60)
        while says not in (said := self.machine.run(*argv, user="hilagent").stdout):
            assert not deadline.expired(), said
            Event().wait(0.2)

    def outlet(self) -> None:
        """Give the host the command that switches its board."""
        path = self.machine.root / "usr/local/bin/outlet"
        path.write_text(OUTLET)
        path.chmod(0o755)

    @contextlib.contextmanager
    def running(self, *argv: str, user: str = "hilagent") -> Iterator[None]:
        """Run a command in it for the ``with`` block; killed at its end."""
        note = f"/tmp/{Path(argv[0]).name}.pid"
        said = ["sh", "-c", f'echo $$ > {note}; exec "$@"', "sh", *argv]
        child = subprocess.Popen(
            self.machine.argv(*said, user=user),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
        finally:
            self.machine.run("sh", "-c", f"kill -KILL $(cat {note}); rm {note}")
            child.wait()

    @contextlib.contextmanager
    def echo(self, path: str) -> Iterator[None]:
        """Have a board at a pty called ``path`` that says what it hears."""
        folder = Path(path).parent
        self.machine.run("mkdir", "-p", str(folder))
        pty = f"PTY,link={path},rawer,group=dialout,mode=660"
        with self.running("socat", pty, "EXEC:cat", user="root"):
            self.until("ls", str(folder), says=Path(path).name)
            yield
