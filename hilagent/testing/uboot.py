# SPDX-License-Identifier: Apache-2.0
"""A scripted U-Boot: banner, countdown, prompt, and the commands that hilagent uses."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hilagent.clock import SYSTEM, Clock
from hilagent.testing.memory import BadAddress, Memory
from hilagent.testing.ymodem import YmodemReceiver

RAM, RAM_SIZE = 0x4000_0000, 0x40_0000
LOAD_ADDR, FDT_ADDR = 0x4020_0000, 0x4000_0000
_MAGIC_AT, _MAGIC = 56, b"ARM\x64"
_TOKEN = re.compile(r"'([^']*)'|\$\?|\$\{(\w+)\}|\$(\w+)|(;)|(\s+)|([^\s;'$]+|\$)")
_VARIABLE = re.compile("\0(.*?)\0")  # its value is known when the command's turn comes
_YMODEM_S = 1.0


@dataclass(frozen=True)
class UBootTraits:
    """What it is like, and what is wrong with it.

    Attributes:
        autoboot_s: length of the countdown; 0: straight to the prompt.
        never_prompts: it prints its banner and hangs.
        garbage: bytes before the banner, e.g. of another baud rate.
        crc_lookalike: a line that crc32 prints which looks like a prompt.
        crc_word: what crc32 calls itself: capitals without CONFIG_HASH (common/hash.c).
        echoes: False: what is typed is done and not shown.
        fifo_bytes: bytes that come at once beyond these are lost; 0: none are.
        boot_fails: booti prints this and comes back.
        lacks: commands that it was built without.
        compatible: of the device tree's root.
    """

    prompt: str = "=> "
    version: str = "U-Boot 2023.01+dfsg-2+deb12u1 (Jan 01 2024 - 00:00:00 +0000)"
    autoboot_s: float = 2.0
    never_prompts: bool = False
    garbage: bytes = b""
    crc_lookalike: bytes = b""
    crc_word: str = "crc32"
    echoes: bool = True
    fifo_bytes: int = 0
    boot_fails: str = ""
    lacks: frozenset[str] = frozenset()
    compatible: tuple[str, ...] = ("scripted,board",)


ORDINARY = UBootTraits()
BootHook = Callable[[int, int], bytes]


class ScriptedUBoot:
    """A machine (see `hilagent.testing.machine`) that speaks U-Boot.

    Args:
        files: what the TFTP server holds.
        on_boot: called by booti and go with address and fdt; returns what is printed next.
        on_reset: called by reset.

    Attributes:
        env: the variables.
        commands: every command that was run, as words.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM,
        traits: UBootTraits = ORDINARY,
        files: Mapping[str, bytes] | None = None,
        on_boot: BootHook = lambda addr, fdt: b"",
        on_reset: Callable[[], bytes] = lambda: b"",
    ) -> None:
        self.clock, self.traits = clock, traits
        self.files = dict(files or {})
        self.on_boot, self.on_reset = on_boot, on_reset
        self.memory = Memory({RAM: RAM_SIZE})
        self.commands: list[list[str]] = []
        self.power_on()

    def power_on(self) -> None:
        """Start anew; the banner comes with the next `tick`."""
        self.env = {
            "loadaddr": f"{LOAD_ADDR:#x}",
            "kernel_addr_r": f"{LOAD_ADDR:#x}",
            "fdtcontroladdr": f"{FDT_ADDR:x}",
        }
        self._state = "off"  # then countdown, prompt, ymodem, left
        self._ends_s = self._wake_s = self.clock.now_s()
        self._line = self._last = b""
        self._status = 0
        self._left = 0
        self._ymodem: YmodemReceiver | None = None
        self._load_to = 0
        self._after: list[list[str]] = []

    @property
    def left(self) -> bool:
        """Whether something else runs now."""
        return self._state == "left"

    def tick(self) -> bytes:
        """Return banner, countdown, the receiver's asking."""
        now_s = self.clock.now_s()
        if now_s < self._wake_s:
            return b""
        if self._state == "off":
            return self._banner()
        if self._state == "countdown":
            return self._count_down(now_s)
        if self._state == "ymodem" and self._ymodem:
            self._wake_s = now_s + _YMODEM_S
            return self._ymodem.silence()
        self._wake_s = math.inf
        return b""

    def next_s(self) -> float:
        """When `tick` has something."""
        return self._wake_s

    def feed(self, data: bytes) -> bytes:
        """Take typed bytes, return echo and output."""
        if self.traits.fifo_bytes:
            data = data[: self.traits.fifo_bytes]
        out = b""
        while data:
            if self._state == "countdown":
                self._state, self._wake_s = "prompt", math.inf
                out += b"\r\n" + self._prompt()
                data = data[1:]
            elif self._state == "ymodem":
                said, data = self._transfer(data)
                out += said
            elif self._state == "prompt":
                out += self._key(data[0])
                data = data[1:]
            else:
                break
        return out

    def _banner(self) -> bytes:
        out = self.traits.garbage + f"\r\n\r\n{self.traits.version}\r\n\r\n".encode()
        out += b"DRAM:  256 MiB\r\nIn:    pl011@9000000\r\nOut:   pl011@9000000\r\n"
        if self.traits.never_prompts:
            self._state, self._wake_s = "dead", math.inf
            return out
        if not self.traits.autoboot_s:
            self._state, self._wake_s = "prompt", math.inf
            return out + self._prompt()
        self._state, self._left = "countdown", math.ceil(self.traits.autoboot_s)
        self._wake_s = self.clock.now_s() + min(1.0, self.traits.autoboot_s)
        return out + f"Hit any key to stop autoboot: {self._left:2d} ".encode()

    def _count_down(self, now_s: float) -> bytes:
        self._left -= 1
        self._wake_s = now_s + 1.0
        out = f"\b\b\b{self._left:2d} ".encode()
        if self._left <= 0:
            self._state, self._wake_s = "dead", math.inf
            out += b"\r\nBooting from the network...\r\n"
        return out

    def _prompt(self) -> bytes:
        return self.traits.prompt.encode()

    def _key(self, key: int) -> bytes:
        char = bytes([key])
        if char in b"\r\n":
            line, self._line = self._line or self._last, b""
            self._last = line  # as hush does: an empty line repeats the last one
            return b"\r\n" + self._run_line(line.decode("latin-1"))
        if char == b"\x03":
            self._line = self._last = b""
            return b"<INTERRUPT>\r\n" + self._prompt()
        if char in b"\x15\x18":
            erased, self._line = b"\b \b" * len(self._line), b""
            return erased
        if char in b"\b\x7f":
            had, self._line = bool(self._line), self._line[:-1]
            return b"\b \b" if had else b""
        if key < 0x20:
            return b"\a"
        self._line += char
        return char if self.traits.echoes else b""

    def _run_line(self, line: str) -> bytes:
        words: list[str] = []
        current: list[str] = []
        self._after, open_word = [], False
        for match in _TOKEN.finditer(line):
            quoted, braced, plain, end, space, text = match.groups()
            if end or space:
                words, open_word = ([*words, "".join(current)] if open_word else words), False
                current = []
                if end:
                    self._after.append(words)
                    words = []
                continue
            open_word = True
            name = braced or plain
            name = "?" if match[0] == "$?" else name
            current.append(f"\0{name}\0" if name else text or quoted or "")
        self._after.append([*words, "".join(current)] if open_word else words)
        return self._run_rest()

    def _value(self, match: re.Match[str]) -> str:
        return str(self._status) if match[1] == "?" else self.env.get(match[1], "")

    def _run_rest(self) -> bytes:
        """Run the commands of a line that are left; a transfer interrupts them."""
        out = b""
        while self._after:
            words = [_VARIABLE.sub(self._value, word) for word in self._after.pop(0)]
            if not words:
                continue
            self.commands.append(words)
            said = self._run(words)
            out += said.replace("\n", "\r\n").encode("latin-1") if isinstance(said, str) else said
            if self._state != "prompt":
                return out
        return out + self._prompt()

    def _run(self, words: list[str]) -> str | bytes:
        name = words[0].split(".")[0]
        command = getattr(self, "_do_" + name, None)
        self._status = 0
        if command is None or name in self.traits.lacks:
            return self._failed(f"Unknown command '{words[0]}' - try 'help'\n")
        try:
            said: str | bytes = command(*words[1:])
        except BadAddress as bad:
            return self._aborted(bad)
        except (TypeError, ValueError):
            return self._failed(f"{words[0]} - wrong arguments\n\nUsage:\n{words[0]}\n")
        return said

    def _aborted(self, bad: BadAddress) -> bytes:
        """Say that there is no such memory, and start anew."""
        return f'"Synchronous Abort" handler, far {bad.addr:#x}\n'.encode() + self._do_reset()

    def _failed(self, text: str) -> str:
        self._status = 1
        return text

    # Commands

    def _do_echo(self, *words: str) -> str:
        return " ".join(words) + "\n"

    def _do_true(self) -> str:
        return ""

    def _do_false(self) -> str:
        return self._failed("")

    def _do_version(self) -> str:
        return f"{self.traits.version}\n\naarch64-linux-gnu-gcc (Debian) 12.2.0\n"

    def _do_printenv(self, *names: str) -> str:
        out = ""
        for name in names or tuple(self.env):
            if name in self.env:
                out += f"{name}={self.env[name]}\n"
            else:
                out += self._failed(f'## Error: "{name}" not defined\n')
        return out

    def _do_setenv(self, name: str, *value: str) -> str:
        if value:
            self.env[name] = " ".join(value)
        else:
            self.env.pop(name, None)
        return ""

    def _do_crc32(self, addr: str, size: str) -> str:
        start, count = int(addr, 16), int(size, 16)
        crc = self.memory.crc32(start, count)
        extra = self.traits.crc_lookalike.decode("latin-1")
        span = f"{start:08x} ... {start + count - 1:08x}"
        return f"{extra}{self.traits.crc_word} for {span} ==> {crc:08x}\n"

    def _do_md(self, addr: str, count: str = "40") -> str:
        start, out = int(addr, 16), ""
        for at in range(start, start + int(count, 16) * 4, 16):
            row = self.memory.read(at, 16)
            words = [int.from_bytes(row[n : n + 4], "little") for n in range(0, 16, 4)]
            text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
            out += f"{at:08x}: " + " ".join(f"{word:08x}" for word in words) + f"  {text}\n"
        return out

    def _do_mw(self, addr: str, value: str, count: str = "1") -> str:
        self.memory.write(int(addr, 16), int(value, 16).to_bytes(4, "little") * int(count, 16))
        return ""

    def _do_help(self) -> str:
        names = (name.removeprefix("_do_") for name in dir(self) if name.startswith("_do_"))
        known = (name for name in names if name not in self.traits.lacks)
        return "".join(f"{name:<10}- what {name} does\n" for name in known)

    def _do_fdt(self, verb: str, *where: str) -> str:
        if verb == "addr":
            there = int(where[0], 16) == FDT_ADDR
            return "Working FDT set\n" if there else self._failed("libfdt: FDT_ERR_BADMAGIC\n")
        if where != ("/", "compatible"):
            return self._failed("libfdt fdt_path_offset() returned FDT_ERR_NOTFOUND\n")
        return "compatible = " + ", ".join(f'"{name}"' for name in self.traits.compatible) + "\n"

    def _do_bdinfo(self) -> str:
        start, size = f"{RAM:#018x}", f"{RAM_SIZE:#018x}"
        return f"DRAM bank   = {0:#018x}\n-> start    = {start}\n-> size     = {size}\n"

    def _do_dhcp(self) -> str:
        return "BOOTP broadcast 1\nDHCP client bound to address 10.0.2.15 (2 ms)\n"

    def _do_tftpboot(self, addr: str, name: str) -> str:
        data = self.files.get(name.rpartition(":")[2])
        if data is None:
            return self._failed(f"TFTP error: 'File not found' (1)\nFilename '{name}'.\n")
        self._loaded(int(addr, 16), data)
        return (
            f"Using virtio-net#0 device\nTFTP from server 10.0.2.2; our IP address is 10.0.2.15\n"
            f"Filename '{name}'.\nLoad address: {addr}\nLoading: #\n\t 1 MiB/s\ndone\n"
            f"Bytes transferred = {len(data)} ({len(data):x} hex)\n"
        )

    def _do_loady(self, addr: str = "", *_: str) -> bytes:
        self._load_to = int(addr or self.env["loadaddr"], 16)
        self._ymodem, self._state = YmodemReceiver(), "ymodem"
        self._wake_s = self.clock.now_s() + _YMODEM_S
        where = f"0x{self._load_to:08X} at 115200 bps"
        text = f"## Ready for binary (ymodem) download to {where}...\r\n"
        return text.encode() + self._ymodem.start()

    def _do_unzip(self, source: str, to: str, size: str) -> str:
        packed = self.memory.read(int(source, 16), int(self.env["filesize"], 16))
        try:
            data = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error):
            return self._failed("Error: inflate() returned -3\n")
        self._loaded(int(to, 16), data[: int(size, 16)])
        return f"Uncompressed size: {len(data)} = {len(data):#X}\n"

    def _do_booti(self, addr: str, initrd: str = "-", fdt: str = "") -> str | bytes:
        start = int(addr, 16)
        if self.memory.read(start + _MAGIC_AT, 4) != _MAGIC:
            return self._failed("Bad Linux ARM64 Image magic!\n")
        if self.traits.boot_fails:
            return self._failed(self.traits.boot_fails + "\n")
        self._state, self._wake_s = "left", math.inf
        return b"\r\nStarting kernel ...\r\n\r\n" + self.on_boot(start, int(fdt or "0", 16))

    def _do_go(self, addr: str, *_: str) -> bytes:
        self._state, self._wake_s = "left", math.inf
        text = f"## Starting application at 0x{int(addr, 16):08X} ...\r\n"
        return text.encode() + self.on_boot(int(addr, 16), 0)

    def _do_reset(self) -> bytes:
        self.power_on()
        return b"resetting ...\r\n" + self.on_reset()

    def _loaded(self, addr: int, data: bytes) -> None:
        self.memory.write(addr, data)
        self.env["fileaddr"], self.env["filesize"] = f"{addr:x}", f"{len(data):x}"

    def _transfer(self, data: bytes) -> tuple[bytes, bytes]:
        receiver = self._ymodem
        assert receiver is not None
        self._wake_s = self.clock.now_s() + _YMODEM_S
        out = receiver.feed(data)
        if not receiver.done and not receiver.cancelled:
            return out, b""
        self._state, self._wake_s = "prompt", math.inf
        if receiver.cancelled:
            self._status = 1
            text = "## Binary (ymodem) download aborted\r\n"
        else:
            try:
                self._loaded(self._load_to, receiver.data)
            except BadAddress as bad:
                return out + self._aborted(bad), receiver.rest()
            size = len(receiver.data)
            text = f"## Total Size      = 0x{size:08x} = {size} Bytes\r\n"
        return out + text.encode() + self._run_rest(), receiver.rest()
