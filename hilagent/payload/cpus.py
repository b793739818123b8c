# SPDX-License-Identifier: Apache-2.0
"""Which CPUs there are, and which of them are awake.

On an emulated board an idle CPU is not free: it spins on a core of the host and
makes the others, and the line, several times slower. There CPUs sleep (switched
off, by CPU_STOP) unless they have work. On a real board they stay on.
"""

from __future__ import annotations

from collections.abc import Collection

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.link import wire
from hilagent.result import CpuFacts

from . import facts
from .channel import Channel
from .jobs import fetch
from .trouble import Patience, Refused

_AWAKE = frozenset({wire.CpuState.READY, wire.CpuState.BUSY})
_STATE_AT = 4
assert wire.CPU_INFO.fields[1][0] == "state"


class Cpus:
    """The CPUs of one boot.

    Args:
        count: how many the payload knows.
        sleeping: CPUs without work are switched off.
        start_s: how long a CPU may take to start.
    """

    def __init__(
        self, channel: Channel, count: int, *, link_cpu: int, sleeping: bool, start_s: float = 10.0
    ) -> None:
        self._channel, self.count, self.link_cpu = channel, count, link_cpu
        self.sleeping, self._start_s = sleeping, start_s
        self._facts: dict[int, CpuFacts] = {}
        self._asleep: set[int] = set()

    def known(self) -> tuple[CpuFacts, ...]:
        """Return the CPUs that have been started, asleep or not."""
        if not self._facts:
            for cpu in range(self.count):
                body = self._info(cpu)
                if _state_of(body) in _AWAKE:
                    self._facts[cpu] = facts.cpu_facts(body)
        return tuple(self._facts[cpu] for cpu in sorted(self._facts))

    def start_all(self, elsewhere: Collection[int] = ()) -> tuple[CpuFacts, ...]:
        """Start every CPU but ``elsewhere``. Raises `errors.LabError` for one that won't."""
        for cpu in range(self.count):
            if cpu not in self._facts and cpu not in elsewhere:
                self._start(cpu)
                self._facts[cpu] = facts.cpu_facts(self._info(cpu))
                self.rest(cpu)
        return self.known()

    def states(self) -> dict[int, wire.CpuState]:
        """Return what each CPU does, as the payload and its firmware say now."""
        known = set(wire.CpuState)
        states = {cpu: self._state(cpu) for cpu in range(self.count)}
        return {
            cpu: wire.CpuState(state) if state in known else wire.CpuState.FAILED
            for cpu, state in states.items()
        }

    def stop_all(self) -> None:
        """Switch off every CPU but the link's."""
        for cpu, state in self.states().items():
            if cpu != self.link_cpu and state in _AWAKE:
                self._channel.request(wire.Op.CPU_STOP, cpu.to_bytes(4, "little"))
                self._asleep.add(cpu)

    def wake(self, cpu: int) -> None:
        """Have a CPU ready for work; one that was never started stays off."""
        if cpu in self._asleep:
            self._start(cpu)
            self._asleep.discard(cpu)

    def rest(self, cpu: int) -> None:
        """Let a CPU without work sleep, where CPUs sleep on this board."""
        if not self.sleeping or cpu == self.link_cpu or cpu in self._asleep:
            return
        try:
            self._channel.request(wire.Op.CPU_STOP, cpu.to_bytes(4, "little"))
        except Refused:
            self.sleeping = False  # no way to switch a CPU off here
        else:
            self._asleep.add(cpu)

    def move_link(self, cpu: int) -> None:
        """Let ``cpu`` own the link."""
        if cpu == self.link_cpu:
            return
        self.wake(cpu)
        channel = self._channel
        wait = Patience(self._start_s, channel.clock, channel.evidence)
        while True:
            try:
                channel.request(wire.Op.LINK_MOVE, cpu.to_bytes(4, "little"))
            except Refused as refused:
                # The new owner did not answer in 200 ms, which a busy host can cause.
                if refused.status != wire.Status.FAILED or wait.over():
                    raise
            else:
                self.link_cpu = cpu
                return

    def _start(self, cpu: int) -> None:
        """Start one CPU, or see that it is up."""
        channel = self._channel
        wait = Patience(self._start_s, channel.clock, channel.evidence)
        body = channel.request(wire.Op.CPU_START, cpu.to_bytes(4, "little"), reply_size=4)
        state = int.from_bytes((body or b"")[:4], "little")
        while state not in _AWAKE:
            if state in (wire.CpuState.ABSENT, wire.CpuState.FAILED) or wait.over():
                name = wire.CpuState(state).name if state in set(wire.CpuState) else state
                raise errors.LabError(
                    f"CPU {cpu} does not start: {name}",
                    hint="do the DTB's enable-method and the firmware's PSCI fit this board?",
                )
            channel.listen(Deadline.after(0.02, channel.clock))
            state = self._state(cpu)

    def _state(self, cpu: int) -> int:
        """Return a CPU's state alone: 4 bytes of its CPU_INFO, where the payload gives parts."""
        ask = _part(cpu, _STATE_AT, 4)
        try:
            body = self._channel.request(wire.Op.CPU_INFO, ask, reply_size=4)
        except Refused as refused:
            if refused.status != wire.Status.BAD_ARG:
                raise
            return _state_of(self._info(cpu))
        if body is None or len(body) != 4:
            raise errors.LinkError(f"CPU_INFO: {len(body or b'')} bytes of a state")
        return int.from_bytes(body, "little")

    def _info(self, cpu: int) -> bytes:
        """Return a CPU_INFO: whole, or in parts on a line that would not carry it."""
        ask, size = cpu.to_bytes(4, "little"), wire.CPU_INFO.size
        body = self._channel.request(wire.Op.CPU_INFO, ask, reply_size=size, tries=2)
        if body is not None:
            return body
        try:
            return fetch(self._channel, wire.Op.CPU_INFO, lambda at, n: _part(cpu, at, n), size)
        except Refused as refused:
            if refused.status != wire.Status.BAD_ARG:
                raise
            return self._channel.request(wire.Op.CPU_INFO, ask, reply_size=size) or b""


def _part(cpu: int, offset: int, size: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in (cpu, offset, size))


def _state_of(cpu_info: bytes) -> int:
    if len(cpu_info) < wire.CPU_INFO.size:
        raise errors.LinkError(f"CPU_INFO: {len(cpu_info)} bytes")
    state = wire.CPU_INFO.unpack(cpu_info)["state"]
    assert isinstance(state, int)
    return state
