# SPDX-License-Identifier: Apache-2.0
"""Makes a host ready: ``python3 -m hilagent.setup [run | test]`` from a checkout.

Needs nothing but Python and, where packages are missing, apt-get and root (it asks before
it uses sudo). The Python packages of requirements.lock go into ``.venv`` of the checkout; the
host's own Python, package sources and architectures are left alone. A second call finds all
there at once. Only the standard library is imported here, and nothing that a Python too old
for hilagent couldn't read, so that it can say so.
"""

from __future__ import annotations

import argparse
import fcntl
import glob
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

OK, MISSING, USAGE, LAB = 0, 1, 2, 125
_TOP = Path(__file__).resolve().parent.parent
_VENV = _TOP / ".venv"
_STAMP = _VENV / "hilagent.stamp"
_LOCK = _TOP / "requirements.lock"
_OLDEST = (3, 11)


class SetupError(Exception):
    """What went wrong and what to do next; ``status`` is the exit code."""

    def __init__(self, message: str, status: int = LAB) -> None:
        super().__init__(message)
        self.status = status


class Need(NamedTuple):
    """One Debian package, and how to see that the host has what it gives."""

    package: str
    why: str
    tools: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    def missing(self) -> tuple[str, ...]:
        """What isn't there: commands, files and modules, in words."""
        return (
            *(f"the command {tool}" for tool in self.tools if not _has_command(tool)),
            *(f"the file {file}" for file in self.files if not glob.glob(file)),
            *(f"the module {name}" for name in self.modules if not importlib.util.find_spec(name)),
        )


def _has_command(name: str) -> bool:
    """In PATH, or where a plain user's PATH doesn't look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


_NATIVE = platform.machine() == "aarch64"  # where the plain compiler builds for the board
_CROSS = "gcc" if _NATIVE else "gcc-aarch64-linux-gnu"
_LIBC = "libc6-dev" if _NATIVE else "libc6-dev-arm64-cross"
_LIBC_FILE = "/usr/lib/aarch64-linux-gnu/libc.a" if _NATIVE else "/usr/aarch64-linux-gnu/lib/libc.a"
_FUZZER = "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a"
_CROSS_TOOLS = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objcopy")

RUN = (
    Need("python3-venv", "makes the Python environment", modules=("ensurepip", "venv")),
    Need("qemu-system-arm", "is the emulated board", tools=("qemu-system-aarch64",)),
    Need("u-boot-qemu", "boots it", files=("/usr/lib/u-boot/qemu_arm64/u-boot.bin",)),
    Need("device-tree-compiler", "describes it where no firmware does", tools=("dtc",)),
)
BUILD = (  # a wheel needs these for kernels alone
    Need(_CROSS, "builds payload and kernel", tools=_CROSS_TOOLS),
    Need(_LIBC, "links the board's programs", files=(_LIBC_FILE,)),
    Need("git", "applies the kernel's patches", tools=("git",)),
    Need("make", "builds the kernel", tools=("make",)),
    Need("flex", "and its configuration", tools=("flex",)),
    Need("bison", "likewise", tools=("bison",)),
    Need("bc", "and its tables", tools=("bc",)),
    Need("xz-utils", "unpacks its source", tools=("xz",)),
    Need("gcc", "builds what runs on this host", tools=("gcc",)),
    Need("libc6-dev", "links that", files=("/usr/include/stdlib.h",)),
)
TEST = (
    Need("ser2net", "is a console server for the tests", tools=("ser2net",)),
    Need("socat", "is a console's program", tools=("socat",)),
    Need("telnet", "likewise", tools=("telnet",)),
    Need("openssh-client", "is Ansible's way to a board", tools=("ssh", "ssh-keygen")),
    Need("curl", "switches a board by Redfish", tools=("curl",)),
    Need("chromium-headless-shell", "opens the reports", tools=("chromium-headless-shell",)),
    Need("clang", "builds the payload's fuzzer", tools=("clang",)),
    Need("libclang-rt-dev", "and its sanitizers", files=(_FUZZER,)),
    Need("iproute2", "makes a network for a board to load over", tools=("ip",)),
)
LONG = (Need("debootstrap", "makes bare Debian trees to set up in", tools=("debootstrap",)),
        Need("lrzsz", "loads a board as a lab would", tools=("sz",)),
        Need("ckermit", "likewise", tools=("kermit",)))  # fmt: skip


def needs(*, test: bool = False, long: bool = False) -> tuple[Need, ...]:
    """What `run` wants of the host, and what `test` and its second tier want besides."""
    return RUN + BUILD + (TEST if test or long else ()) + (LONG if long else ())


class _Progress:
    """One line, redrawn on a terminal; elsewhere a line at every quarter."""

    def __init__(self, label: str) -> None:
        self._label, self._last, self._live = label, -1, sys.stdout.isatty()
        self._began = time.monotonic()

    def at(self, percent: float, what: str) -> None:
        step = int(percent) if self._live else int(percent) // 25 * 25
        if step > self._last or self._live:
            self._last = max(step, self._last)
            self._draw(f"{self._label}: {self._last:3d} %  {what}", "" if self._live else "\n")

    def done(self) -> None:
        self._draw(f"{self._label}: done in {time.monotonic() - self._began:.0f} s", "\n")

    def _draw(self, text: str, end: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        clear = "\r\x1b[K" if self._live else ""
        print(clear + (text[:width] if self._live else text), end=end, flush=True)


def _follow(argv: Sequence[str], see: Callable[[str], None]) -> None:
    """Run argv and show each line of its output to `see`; its last lines tell of a failure."""
    tail: deque[str] = deque(maxlen=40)
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as child:  # fmt: skip
        assert child.stdout is not None
        for line in child.stdout:
            if not line.startswith(("dlstatus:", "pmstatus:")):
                tail.append(line)
            see(line.rstrip())
    if child.returncode:
        raise SetupError(f"\n{''.join(tail)}\nfailed ({child.returncode}): {shlex.join(argv)}")


# --- Debian packages


def _apt(*words: str) -> list[str]:
    """apt-get, as root, with its standard output a second time as descriptor 3.

    That is for its status lines: apt closes the descriptor that it gives them
    before a package's own scripts run, and one that prints would fail. sudo
    passes none but the first three on.
    """
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    shell = ["sh", "-c", 'DEBIAN_FRONTEND=noninteractive exec "$@" 3>&1', "apt-get"]
    return [*sudo, *shell, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *words]


def _apt_install(packages: Sequence[str]) -> None:
    """Install; if that fails the package lists may be empty or old: fetch them, once."""
    words = ("install", "-y", "--no-install-recommends", "-o", "APT::Status-Fd=3")
    argv = _apt(*words, "-o", "Dpkg::Use-Pty=0", *packages)
    progress = _Progress("Debian packages")

    def see(line: str) -> None:
        kind, _, rest = line.partition(":")
        fields = rest.split(":", 2)
        if kind in ("dlstatus", "pmstatus") and len(fields) == 3:
            half = 50 if kind == "pmstatus" else 0
            progress.at(half + float(fields[1]) / 2, fields[2])

    try:
        _follow(argv, see)
    except SetupError:
        progress.at(0, "fetching the package lists")
        _follow(_apt("update"), lambda line: None)
        _follow(argv, see)
    progress.done()


def _packages(wanted: Sequence[Need], yes: bool) -> None:
    """Install what `wanted` lacks, after asking."""
    lacking = [need for need in wanted if need.missing()]
    if not lacking:
        return
    if not shutil.which("apt-get"):
        raise SetupError(f"{_advice(lacking)}\nThen run this again.")
    names = [need.package for need in lacking]
    print("Debian packages to install, with what they depend on:")
    for need in lacking:
        print(f"  {need.package:24} {need.why}")
    if os.geteuid() != 0 and not shutil.which("sudo"):
        raise SetupError(f"neither root nor sudo; as root: {_command(names)}")
    _ask(f"Install them{' with sudo' if os.geteuid() else ''}?", yes)
    _apt_install(names)
    still = [need for need in lacking if need.missing()]
    if still:
        raise SetupError(f"apt-get succeeded, but still missing: {_words(still)}")


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise SetupError("not a terminal, so nobody can be asked: say --yes to agree", USAGE)
    if input(f"{question} [Y/n] ").strip().lower() not in ("", "y", "yes"):
        raise SetupError("nothing was changed", USAGE)


def _command(packages: Sequence[str]) -> str:
    return " ".join(["apt-get install --no-install-recommends", *packages])


def _words(lacking: Sequence[Need]) -> str:
    return ", ".join(word for need in lacking for word in need.missing())


def _advice(lacking: Sequence[Need]) -> str:
    """How to get what is missing, on this host."""
    if shutil.which("apt-get"):
        command = _command([need.package for need in lacking])
        ours = "python3 -m hilagent.setup, or as root" if _is_checkout() else "as root"
        return f"To get it: {ours}: {command}"
    names = "\n".join(f"  {word} ({need.why})" for need in lacking for word in need.missing())
    return f"This host has no apt-get. Install by its own means (QEMU 7.2 or newer):\n{names}"


# --- the virtual environment


def _stamp() -> str:
    """Changes when .venv has to be brought up to date."""
    said = hashlib.sha256(f"{sys.version_info[:2]} {_VENV}".encode())
    for file in (_LOCK, _TOP / "pyproject.toml"):
        said.update(file.read_bytes())
    return said.hexdigest()


def _venv_current() -> bool:
    return _STAMP.is_file() and _STAMP.read_text() == _stamp() and os.access(_python(), os.X_OK)


def _python() -> Path:
    return _VENV / "bin" / "python"


def _venv() -> None:
    """Make .venv, put the locked packages and the checkout itself into it."""
    if _venv_current():
        return
    _STAMP.unlink(missing_ok=True)
    total = _LOCK.read_text().count("==")
    progress, seen = _Progress("Python packages"), 0

    def see(line: str) -> None:
        nonlocal seen
        if line.startswith("Collecting "):
            seen += 1
            progress.at(min(80, 80 * seen / total), line.split(" (")[0])
        elif line.startswith("Installing "):
            progress.at(85, "installing")

    progress.at(0, f"making {_VENV}")
    base = getattr(sys, "_base_executable", None) or sys.executable
    if not _usable():
        _follow([base, "-m", "venv", "--clear", str(_VENV)], see)
    pip = [str(_python()), "-I", "-m", "pip", "--disable-pip-version-check", "install"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(_LOCK)]
    _follow([*pip, "--progress-bar", "off", *locked], see)
    progress.at(95, "hilagent itself")
    here = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(_TOP)]
    _follow([*pip, *here], see)
    _STAMP.write_text(_stamp())
    progress.done()


def _usable() -> bool:
    """Whether .venv is there, runs, and has the Python that runs this."""
    code = "import sys, pip; print(sys.version_info[:2])"
    try:
        said = subprocess.run([_python(), "-I", "-c", code], capture_output=True, text=True)
    except OSError:
        return False
    return said.stdout.strip() == str(sys.version_info[:2])


@contextmanager
def _alone() -> Iterator[None]:
    """Two set-ups of one checkout take turns."""
    handle = os.open(_TOP, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


# --- the command


def _check(wanted: Sequence[Need]) -> int:
    """Say what is there and what isn't; change nothing."""
    spared = () if _is_checkout() else BUILD
    lacking = [need for need in wanted if need.missing() and need not in spared]
    for need in wanted:
        state = "missing" if need in lacking else "kernels" if need.missing() else "ok"
        print(f"{state:8}{need.package:24}{need.why}")
        for word in need.missing():
            print(f"{'':32}{word}")
    if _is_checkout():
        state = "ok" if _venv_current() else "missing"
        print(f"{state:8}{'.venv':24}the locked Python packages")
    if lacking:
        print(_advice(lacking))
    elif _is_checkout() and not _venv_current():
        print("To get it: python3 -m hilagent.setup")
    return MISSING if lacking or (_is_checkout() and not _venv_current()) else OK


def _is_checkout() -> bool:
    return (_TOP / "pyproject.toml").is_file() and _LOCK.is_file()


def _job(job: str, long: str | None, rest: Sequence[str]) -> list[str]:
    """The command that the job is, `rest` its arguments."""
    if job == "run":
        board = [] if rest and not rest[0].startswith("-") else ["qemu-virt"]
        return [str(_VENV / "bin" / "hilagent"), "run", *board, *rest]
    second_tier = (
        ["--long", "-o", "faulthandler_timeout=0", "tests/long"] if long is not None else []
    )
    return [str(_python()), "-m", "pytest", *second_tier, *(["-k", long] if long else []), *rest]


def _become(argv: list[str]) -> NoReturn:
    sys.stdout.flush()
    os.chdir(_TOP)
    os.execv(argv[0], argv)


def _arguments(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python3 -m hilagent.setup",
        allow_abbrev=False,
        description="Installs what is missing, then runs the job.",
        epilog="Anything else goes to the job: 'run' takes the arguments of 'hilagent run' "
        "(default: qemu-virt), 'test' those of pytest. Example: run --yes --suite architecture",
    )
    parser.add_argument("job", nargs="?", choices=["run", "test"], help="after set-up")
    parser.add_argument("--yes", action="store_true", help="install without asking")
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    parser.add_argument(
        "--long", nargs="?", const="", metavar="NAME", help="test: the second tier (tests/long)"
    )
    options, rest = parser.parse_known_args(argv)
    if rest and not options.job:
        parser.error(f"unknown argument: {rest[0]}")
    if options.long is not None and options.job != "test":
        parser.error("--long belongs to 'test'")
    return options, rest


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, unless a job took over this process."""
    options, rest = _arguments(argv)
    wanted = needs(test=options.job == "test", long=options.long is not None)
    try:
        if sys.version_info < _OLDEST:
            raise SetupError("hilagent needs Python 3.11 or newer (Debian 12 has it)")
        if options.check:
            return _check(wanted)
        if not _is_checkout():
            raise SetupError("not a checkout: only --check works here", USAGE)
        with _alone():
            _packages(wanted, options.yes)
            _venv()
            if options.job == "test":
                _follow([str(_python()), str(_TOP / "tests/locked_env.py")], print)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return error.status
    if options.job is None:
        print("Ready. Next: python3 -m hilagent.setup run")
        return OK
    _become(_job(options.job, options.long, rest))


if __name__ == "__main__":
    sys.exit(main())
