# SPDX-License-Identifier: Apache-2.0
"""A bare Debian that is booted: its own systemd, network, users and sshd, beside this host's.

It is no virtual machine: it runs on this kernel, in namespaces and a control group of its own,
and ends with the ``with`` block. Needs root. udevd doesn't start in it (its /sys is read-only).
Its network is a loopback and ``lab0``, a lab's interface.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from hilagent.clock import Deadline
from tests.long import bare, way_out

PACKAGES = (
    "systemd-sysv",
    "udev",
    "dbus",
    "openssh-server",
    "python3",
    "ca-certificates",
    "iproute2",
)
ADDRESS, BOARD = "198.51.100.1", "198.51.100.2"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# $1 the root, $2 a folder beside it, $3 the control group, $4 what follows, $5 its address
_OUTSIDE = """
mkdir -p "$2"
mount -t cgroup2 none "$2"
mkdir "$2/$3"
echo $$ > "$2/$3/cgroup.procs"
umount "$2"
exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup --net \\
    sh -euc "$4" boot "$1" "$5"
"""
_INSIDE = """
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sys sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=755 none dev
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 none dev/pts
mount -t tmpfs none dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
ip link add lab0 type veth peer name boards0
ip address add "$2/24" dev lab0
ip link set lab0 up
ip link set boards0 up
mkdir -p .old
pivot_root . .old
umount -l /.old
exec env -i container=other /lib/systemd/systemd
"""
_SWEEP = """
mount -t cgroup2 none "$1" || exit
find "$1/$2" -depth -type d -exec rmdir {} +
"""


@dataclass(frozen=True)
class Machine:
    """A Debian that runs.

    Attributes:
        name: of the host, in its inventory, too.
        root: its root folder, as this host sees it.
        pid: its systemd, likewise.
        key: the private key that its root accepts.
        known_hosts: a file with its host key, under its name.
    """

    name: str
    root: Path
    pid: int
    key: Path
    known_hosts: Path

    def argv(self, *argv: str, user: str = "root") -> list[str]:
        """Return what runs a command in it, for a process of this host to become."""
        who, home = list[str](), "/root"
        if user != "root":
            who, home = ["runuser", "-u", user, "--"], f"/srv/{user}"
        env = [f"PATH={_PATH}", "LC_ALL=C.UTF-8", f"USER={user}", f"HOME={home}"]
        enter = ["nsenter", "--target", str(self.pid), "--all", "env", "-i", "-C", "/", *env]
        return [*enter, *who, *argv]

    def run(self, *argv: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command in it; stdout and stderr are one text. Raises nothing by its status."""
        return subprocess.run(
            self.argv(*argv, user=user),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )  # fmt: skip

    @contextlib.contextmanager
    def board_side(self) -> Iterator[list[str]]:
        """Be at the other end of ``lab0``; gives what goes before a command of this host."""
        inside = ["nsenter", "--target", str(self.pid), "--net"]
        stay = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        holder = subprocess.Popen([*inside, *stay])
        try:
            here = [os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", self.pid)]
            deadline = Deadline.after(10)
            while os.readlink(f"/proc/{holder.pid}/ns/net") in here:
                assert not deadline.expired(), "no network for the board"
                Event().wait(0.01)
            there = ["nsenter", "--target", str(holder.pid), "--net"]
            for words in (
                [*inside, "ip", "link", "set", "boards0", "netns", str(holder.pid)],
                [*there, "ip", "address", "add", f"{BOARD}/24", "dev", "boards0"],
                [*there, "ip", "link", "set", "boards0", "up"],
            ):
                subprocess.run(words, check=True)
            yield there
            back = [*there, "ip", "link", "set", "boards0", "netns", str(self.pid)]
            subprocess.run(back, check=True)  # or it ends with its network, and lab0 with it
            subprocess.run([*inside, "ip", "link", "set", "boards0", "up"], check=True)
        finally:
            holder.kill()
            holder.wait()

    def inventory(self) -> str:
        """Return how Ansible reaches it: over SSH, through a pipe into its network."""
        pipe = f"nsenter --target {self.pid} --net socat - TCP:127.0.0.1:22"
        args = f"-F none -o UserKnownHostsFile={self.known_hosts} -o ProxyCommand='{pipe}'"
        return (
            f"labhosts:\n  hosts:\n    {self.name}:\n      ansible_user: root\n"
            f"      ansible_control_path_dir: {self.key.parent}\n"
            f"      ansible_ssh_private_key_file: {self.key}\n"
            f'      ansible_ssh_common_args: "{args}"\n'
        )


@contextlib.contextmanager
def debian(suite: str) -> Iterator[Machine]:
    """One that was made and booted for this, with a way out for apt and pip; gone at the end."""
    with bare.made(suite, PACKAGES) as root, _of(root) as machine:
        yield machine


@contextlib.contextmanager
def _of(root: Path) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="hilagent-booted-") as beside:
        key = _keys(root, Path(beside))
        subprocess.run(
            ["chroot", str(root), "update-ca-certificates"], check=True, capture_output=True
        )
        group = f"hilagent-{os.getpid()}-{root.name}"
        words = [
            "sh",
            "-euc",
            _OUTSIDE,
            "boot",
            str(root),
            f"{beside}/cgroup",
            group,
            _INSIDE,
            ADDRESS,
        ]
        with open(f"{beside}/console", "w") as console:
            parent = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", *words],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            pid = _first(parent.pid)
            machine = Machine(root.name, root, pid, key, Path(beside) / "known_hosts")
            with way_out.proxy(Path(f"/proc/{pid}/ns/net")) as address:
                _use(root, address)
                _up(machine)
                yield machine
        finally:
            parent.send_signal(signal.SIGKILL)  # its child, the first of all others, goes with it
            parent.wait()
            _swept(f"{beside}/cgroup", group)


def _keys(root: Path, beside: Path) -> Path:
    """Let whoever has the key returned be root; write down the host key."""
    key = beside / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_bytes(key.with_suffix(".pub").read_bytes())
    host = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
    (beside / "known_hosts").write_text(f"{root.name} {' '.join(host)}\n")
    (root / "etc/hostname").write_text(f"{root.name}\n")
    return key


def _use(root: Path, address: str) -> None:
    """Tell apt and pip of it."""
    lines = f'Acquire::http::Proxy "{address}";\nAcquire::http::Pipeline-Depth "0";\n'
    (root / "etc/apt/apt.conf.d/00way-out").write_text(lines)
    pip = f"[global]\nproxy = {address}\ncert = /etc/ssl/certs/ca-certificates.crt\ntimeout = 60\n"
    (root / "etc/pip.conf").write_text(pip)


def _first(parent: int) -> int:
    """Return the pid of the only child of ``parent``, once it is systemd."""
    deadline = Deadline.after(30)
    while True:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        with contextlib.suppress(OSError):
            if children and "systemd" in os.readlink(f"/proc/{children[0]}/exe"):
                return int(children[0])
        assert not deadline.expired(), "it does not boot"
        Event().wait(0.05)


def _up(machine: Machine) -> None:
    deadline = Deadline.after(90)
    while (said := machine.run("systemctl", "is-system-running").stdout.strip()) != "running":
        assert not deadline.expired(), said + machine.run("systemctl", "--failed").stdout
        Event().wait(0.2)


def _swept(mount: str, group: str) -> None:
    """Remove its control groups, which are empty once the kernel has buried everybody."""
    deadline = Deadline.after(10)
    argv = ["unshare", "--mount", "sh", "-c", _SWEEP, "sweep", mount, group]
    while subprocess.run(argv, capture_output=True).returncode and not deadline.expired():
        Event().wait(0.1)
