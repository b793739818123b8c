# SPDX-License-Identifier: Apache-2.0
"""What a board is: frozen data that every later room reads.

One YAML file describes one board; :mod:`hilagent.board.load` makes a
:class:`Board` of it and is the only place that knows about YAML. Every class
here is strict: unknown, missing, duplicate or out-of-range fields are errors
with file and line. Units stand in the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from hilagent.board.console import Console as Console
from hilagent.board.console import Port, Seconds
from hilagent.board.emulated import Firmware as Firmware
from hilagent.board.emulated import QemuSpec as QemuSpec
from hilagent.board.hardware import STRICT, Address, Name, Region, Text, Watchdog
from hilagent.board.place import Place as Place
from hilagent.board.power import Power as Power
from hilagent.limits import Between, Length, Matches


@dataclass(frozen=True)
class Network:
    """How U-Boot gets a network for TFTP.

    Attributes:
        mode: ``qemu`` (user-mode network with QEMU's own TFTP server),
            ``dhcp``, ``static`` or ``none`` (no TFTP on this board).
        address, netmask, gateway: the board's own; only ``static`` has them.
        server: the TFTP server's address; with DHCP, the answer's if not given.
        tftp_dir: the folder of this host that the TFTP server serves; needed to load by it,
        own_tftp: or that this program is the server, on the address ``server`` of this host
            and for the time of each load; port 69 wants a privilege.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    mode: Literal["qemu", "dhcp", "static", "none"]
    address: Text | None = None
    netmask: Text | None = None
    gateway: Text | None = None
    server: Text | None = None
    tftp_dir: Annotated[str, Matches(r"/[^\x00-\x1f\x7f]{0,999}", "an absolute path")] | None = None
    own_tftp: bool = False

    def __post_init__(self) -> None:
        if self.own_tftp and (self.tftp_dir or not self.server):
            raise ValueError("'own_tftp' needs 'server', an address of this host; no 'tftp_dir'")
        if self.mode == "static" and not (self.address and self.netmask and self.server):
            raise ValueError("a static network needs 'address', 'netmask' and 'server'")
        if self.mode in {"qemu", "none"} and (self.address or self.netmask or self.gateway):
            raise ValueError(f"network mode {self.mode} has no addresses")
        if self.mode in {"qemu", "none"} and (self.tftp_dir or self.own_tftp):
            name = "tftp_dir" if self.tftp_dir else "own_tftp"
            raise ValueError(f"network mode {self.mode} has no '{name}'")


@dataclass(frozen=True)
class UBootSpec:
    """The board's U-Boot.

    Attributes:
        prompt: exactly, with its trailing space.
        autoboot: the text that is printed when a key would stop the boot.
        interrupt: what is sent to stop it.
        load_addr: where an image is loaded to; 2 MiB aligned, free RAM.
        fdt: ``$fdtcontroladdr``, another variable, or an address.
        network: for TFTP.
        prompt_timeout_s: from power on to the prompt.
        command_timeout_s: for a command that only computes.
        transfer_timeout_s: for loading the payload.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    prompt: Text
    autoboot: Text
    load_addr: Address
    network: Network
    interrupt: Text = " "
    fdt: Address | Annotated[str, Matches(r"\$[a-z_]{1,32}", "a U-Boot variable")] = (
        "$fdtcontroladdr"
    )
    prompt_timeout_s: Seconds = 30.0
    command_timeout_s: Seconds = 10.0
    transfer_timeout_s: Seconds = 60.0

    def __post_init__(self) -> None:
        if self.load_addr % 0x20_0000:
            raise ValueError(f"load_addr {self.load_addr:#x} isn't 2 MiB aligned")


@dataclass(frozen=True)
class PayloadSpec:
    """What the payload finds when it is started here.

    Attributes:
        entry_el: the exception level that the boot path is declared to enter at.
        psci: the conduit; ``none`` where there is no PSCI (``smc`` without
            firmware never returns).
        watchdog: what resets a board that has no PSCI.
        vhe: whether its CPUs have the Virtualization Host Extensions.
        timeout_s: from ``booti`` to the payload's hello.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    entry_el: Annotated[int, Between(1, 3)] = 2
    psci: Literal["smc", "hvc", "none"] = "none"
    watchdog: Watchdog | None = None
    vhe: bool | None = None
    timeout_s: Seconds = 15.0


@dataclass(frozen=True)
class Ssh:
    """How a Linux on this board is reached.

    Attributes:
        via: ``address``, or ``qemu``: the emulator forwards a port of this host.
        host, port: of its SSH server.
        user: must be root: what is asked of a kernel needs it.
        key: private key file for a system that was installed; our root file system knows
            the lab's own alone, and is asked with that whatever stands here.
        timeout_s: from the root file system's word that it is ready to an answer.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    via: Literal["address", "qemu"] = "address"
    host: Text | None = None
    port: Port = 22
    user: Text = "root"
    key: Text | None = None
    timeout_s: Seconds = 60.0

    def __post_init__(self) -> None:
        if (self.via == "address") != (self.host is not None):
            raise ValueError("ssh needs a 'host', or 'via: qemu' and none")


@dataclass(frozen=True)
class OsSpec:
    """The system that this board boots by itself, for one without a U-Boot to talk to.

    Payload and kernels are started from it by kexec, so it needs root, kexec-tools (or
    hilagent's own loader) and a kernel at EL2.

    Attributes:
        ssh: how it is reached; ``hilagent trust`` pins its host key.
        boot_timeout_s: from power on until it answers by SSH.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    ssh: Ssh
    boot_timeout_s: Seconds = 300.0


@dataclass(frozen=True)
class LinuxSpec:
    """How this board runs a Linux with our root file system.

    Attributes:
        console: of the kernel's command line, e.g. ``ttyAMA0``.
        ssh: how it is reached once it runs.
        kernel_addr, ramdisk_addr: where U-Boot loads to; the kernel's is 2 MiB
            aligned (Documentation/arch/arm64/booting.rst), and both are free RAM. A board
            without a U-Boot has none.
        start: ``booti``, or ``bootefi``: U-Boot's EFI, which tells a GICv3's LPI tables to
            every later kernel; the kernel needs CONFIG_EFI.
        cmdline: more arguments of the kernel, e.g. a network driver's.
        ip: of the form of the kernel's ``ip=`` (Documentation/admin-guide/nfs/nfsroot.rst),
            but it is our root file system that sets it: a kernel would wait for a cable.
        config: configuration fragments (names or paths) over each kernel's own; by default
            none on an emulated board, and ``boards`` on any other.
        crashkernel: reserved for a crash kernel; it must hold one and its root file system.
        boot_timeout_s: from ``booti`` to the root file system's word that it is ready.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    console: Annotated[str, Matches(r"[A-Za-z0-9,]{1,40}", "a console of Linux, e.g. ttyS0,115200")]
    ssh: Ssh
    kernel_addr: Address = 0
    ramdisk_addr: Address = 0
    start: Literal["booti", "bootefi"] = "booti"
    cmdline: Annotated[str, Matches(r"[A-Za-z0-9_./:,=+@%\- ]{0,120}", "kernel arguments")] = ""
    ip: Annotated[str, Matches(r"[A-Za-z0-9.:-]{1,100}", "an ip= of the kernel")] = "dhcp"
    config: Annotated[tuple[Text, ...], Length(0, 8)] = ()
    crashkernel: Annotated[str, Matches(r"[0-9]+M", "a size like 160M")] = "160M"
    boot_timeout_s: Seconds = 60.0

    def __post_init__(self) -> None:
        if self.kernel_addr % 0x20_0000:
            raise ValueError(f"kernel_addr {self.kernel_addr:#x} isn't 2 MiB aligned")


@dataclass(frozen=True)
class Option:
    """A field that a run may override: ``-o NAME=VALUE``.

    Attributes:
        sets: dotted paths of the fields that take the value, e.g. ``qemu.smp``.
        choices: the values that are known to work; empty for any valid one.
        help: what it is, in a few words.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    sets: Annotated[tuple[Text, ...], Length(1, 8)]
    choices: tuple[Text | int, ...] = ()
    help: Text | None = None


@dataclass(frozen=True)
class Board:
    """One board.

    Attributes:
        schema: version of this description.
        name: as the file is called, without ``.yaml``.
        description: one line, for the listing.
        soc: e.g. ``bcm2711``.
        emulated: never a claim about silicon.
        compatible: of the device tree's root, as the board's own DTB has it.
        cpus: how many are expected to start.
        memory: what the load addresses are held against.
        tags: any words, to choose a board by.
        transfers: how U-Boot can be fed, best first. ``loader``: the payload by ymodem, and
            kernels by the payload, compressed, at the serial line's own speed.
        place: of a labgrid coordinator, which is taken for each run; it has the console and
            the power of kind ``labgrid``.
        options: fields that a run may override.
        source: the file that it came from; not a field of the YAML.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    schema: Annotated[int, Between(1, 1)]
    name: Name
    description: Text
    soc: Name
    emulated: bool
    cpus: Annotated[int, Between(1, 256)]
    console: Console
    power: Power
    payload: PayloadSpec
    compatible: tuple[Text, ...] = ()
    memory: Annotated[tuple[Region, ...], Length(0, 32)] = ()
    tags: tuple[Name, ...] = ()
    transfers: Annotated[tuple[Literal["tftp", "ymodem", "loader"], ...], Length(1, 3)] = (
        "ymodem",
    )
    qemu: QemuSpec | None = None
    uboot: UBootSpec | None = None
    os: OsSpec | None = None
    linux: LinuxSpec | None = None
    place: Place | None = None
    options: Mapping[Name, Option] = field(default_factory=dict)
    source: Path | None = None

    def __post_init__(self) -> None:
        by_qemu = "qemu" in (self.console.kind, self.power.kind)
        if by_qemu != (self.qemu is not None):
            raise ValueError(
                "console or power by qemu needs a 'qemu' block, and a 'qemu' block needs them"
            )
        by_place = "labgrid" in (self.console.kind, self.power.kind)
        if by_place and self.place is None:
            raise ValueError("console or power by labgrid needs a 'place' block")
        if self.qemu is not None and not self.emulated:
            raise ValueError("a board with a 'qemu' block is emulated: expected emulated: true")
        for block in (self.linux, self.os):
            if block is not None and block.ssh.via == "qemu" and self.qemu is None:
                raise ValueError("ssh via qemu needs a 'qemu' block")
        if self.console.kind == "none" and (self.os is None or self.linux is None):
            raise ValueError("a board without a console needs 'os' and 'linux': all goes over SSH")
        if self.uboot is not None and self.os is not None:
            raise ValueError("'uboot' and 'os' exclude each other: one starts what we bring")
        if self.qemu is not None and self.qemu.starts_payload:
            for name in ("uboot", "os", "linux"):
                if getattr(self, name) is not None:
                    raise ValueError(f"a board whose payload QEMU starts has no '{name}'")
        if self.uboot is not None and self.linux is not None:
            for name in ("kernel_addr", "ramdisk_addr"):
                if not getattr(self.linux, name):
                    raise ValueError(f"linux needs '{name}' where U-Boot loads it")
        tftp = self.uboot is not None and self.uboot.network.mode != "none"
        if "tftp" in self.transfers and not tftp:
            raise ValueError("transfer tftp needs a U-Boot with a network")
        if "tftp" in self.transfers and self.uboot is not None:
            network = self.uboot.network
            if network.mode != "qemu" and network.tftp_dir is None and not network.own_tftp:
                raise ValueError("transfer tftp needs 'uboot.network.tftp_dir' or 'own_tftp'")
