# SPDX-License-Identifier: Apache-2.0
"""Scripted benches for doctor: bytes over a pty, and something wrong on the way."""

from __future__ import annotations

import os
import re
import termios
from pathlib import Path

from hilagent.testing import Machine, ScriptedBoard
from hilagent.testing.memory import Memory

OSPEED = 5
BOARD = """\
schema: 1
name: scripted
description: a scripted board on a pty
soc: scripted
emulated: false
cpus: 4
compatible: ["scripted,board"]
console:
  kind: serial
  path: {pty}
  baud: 115200
  uart: {{kind: pl011, base: 0x9000000}}
power:
  kind: command
  on: [sh, -c, "echo on >> {switched}"]
  off: [sh, -c, "echo off >> {switched}"]
  state: [sh, -c, "grep -q . {switched} && tail -n 1 {switched} | grep -q on"]
  off_s: 0.1
uboot:
  prompt: "=> "
  autoboot: Hit any key to stop autoboot
  load_addr: 0x40200000
  prompt_timeout_s: 2
  command_timeout_s: 3
  network: {{mode: none}}
transfers: [ymodem]
payload: {{psci: smc, timeout_s: 3}}
"""


class Through:
    """A machine behind a line that does something to what it says."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def feed(self, data: bytes) -> bytes:
        return self.said(self.machine.feed(data))

    def tick(self) -> bytes:
        return self.said(self.machine.tick())

    def next_s(self) -> float:
        return self.machine.next_s()

    def said(self, data: bytes) -> bytes:
        return data


class AtRate(Through):
    """Speaks at one baud rate: at another of the pty, both sides get garbage.

    Attributes:
        path: of the pty; its other end has the rate that the host has set.
    """

    def __init__(self, machine: Machine, rate: int) -> None:
        super().__init__(machine)
        self._rate, self.path = rate, ""

    def feed(self, data: bytes) -> bytes:
        return self.said(self.machine.feed(self.said(data)))

    def said(self, data: bytes) -> bytes:
        return data if self._right() else bytes(byte | 0x80 for byte in data)

    def _right(self) -> bool:
        fd = os.open(self.path, os.O_RDONLY | os.O_NOCTTY)
        try:
            return bool(termios.tcgetattr(fd)[OSPEED] == getattr(termios, f"B{self._rate}"))
        finally:
            os.close(fd)


class Switched(Through):
    """Is switched by what its power commands have written: the last word of a file.

    It looks at that whenever it is spoken to, and starts anew after off and on.
    """

    def __init__(self, machine: ScriptedBoard, log: Path) -> None:
        super().__init__(machine)
        self._board, self._log, self._words = machine, log, 0

    def feed(self, data: bytes) -> bytes:
        words = self._log.read_text().split()
        if len(words) != self._words:
            self._words = len(words)
            self._board.power(words[-1] == "on")
            return self.machine.tick()
        return super().feed(data)


class LosesOfDumps(Through):
    """Loses a character of some lines that begin as memory dumps do."""

    def said(self, data: bytes) -> bytes:
        return re.sub(rb"(\n402000[048c]0: [0-9a-f]{8}) ", rb"\1", data)


class Forgetful(Memory):
    """Memory in which one bit is stuck."""

    def write(self, addr: int, data: bytes) -> None:
        super().write(addr, bytes(byte & 0xFE for byte in data))


class SpoilsPackets(Through):
    """Spoils a byte in the middle of every long thing that the payload says."""

    def said(self, data: bytes) -> bytes:
        if b"Starting kernel" in data:
            self._in_payload = True
        if not self._in_payload or len(data) < 600 or self._spared():
            return data
        return data[:300] + bytes([data[300] ^ 0x10]) + data[301:]

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._count, self._in_payload = 0, False

    def _spared(self) -> bool:
        self._count += 1
        return self._count % 3 > 0
