# SPDX-License-Identifier: Apache-2.0
"""Power by commands, whatever switches the outlet.

::

    power:
      kind: command
      on: [uhubctl, -l, 1-1, -p, "2", -a, "on"]
      off: [uhubctl, -l, 1-1, -p, "2", -a, "off"]
      state: [my-outlet, "2"]     # optional: exit 0 is on, 1 is off
      off_s: 2.0                  # time without power, whoever asks for it again

Argument lists only: there is no shell in between, unless one is named. Recipes::

    power:   # a BMC, by ipmitool
      kind: command
      on: [ipmitool, -I, lanplus, -H, bmc7, -U, lab, -f, /etc/lab/bmc7, chassis, power, "on"]
      off: [ipmitool, -I, lanplus, -H, bmc7, -U, lab, -f, /etc/lab/bmc7, chassis, power, "off"]
      state:
        - sh
        - -c
        - 'said=$(ipmitool -I lanplus -H bmc7 -U lab -f /etc/lab/bmc7 chassis power status) ||
          exit 2; case $said in *on) exit 0 ;; *off) exit 1 ;; esac; exit 2'

    power:   # a BMC, by Redfish (DSP0266, ComputerSystem.Reset); the password in a netrc
      kind: command
      on: [curl, --fail, --silent, --show-error, --netrc-file, /etc/lab/netrc,
           --json, '{"ResetType": "On"}',
           "https://bmc7/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"]
      off: [curl, --fail, --silent, --show-error, --netrc-file, /etc/lab/netrc,
            --json, '{"ResetType": "ForceOff"}',
            "https://bmc7/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"]
      state:
        - sh
        - -c
        - 'said=$(curl --fail --silent --netrc-file /etc/lab/netrc
          https://bmc7/redfish/v1/Systems/1 | tr -d " ") || exit 2;
          case $said in *PowerState?:?On?*) exit 0 ;; *PowerState?:?Off?*) exit 1 ;; esac; exit 2'

    power:   # a hub that switches its ports, by uhubctl
      kind: command
      on: [uhubctl, -l, 1-1, -p, "2", -a, "on"]
      off: [uhubctl, -l, 1-1, -p, "2", -a, "off"]

    power:   # a relay at a GPIO line that keeps its level, by libgpiod 2 (not run by anyone yet)
      kind: command
      on: [gpioset, -t, "0", -c, gpiochip0, 17=1]
      off: [gpioset, -t, "0", -c, gpiochip0, 17=0]
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

from hilagent.board.model import Power as Spec
from hilagent.clock import SYSTEM, Clock
from hilagent.errors import LabError
from hilagent.power.base import Relay
from hilagent.text import scrub_line


class CommandPower(Relay):
    """Runs the lab's own commands; each ends within ``spec.limit_s`` or is killed.

    Args:
        pause: waits until the board is empty; its capacitors have no event to wait for.
    """

    def __init__(
        self, spec: Spec, *, clock: Clock = SYSTEM, pause: Callable[[float], object] | None = None
    ) -> None:
        super().__init__(spec.off_s, clock, pause)
        self._spec = spec

    def cycle(self) -> None:
        """Run the command for cycle, or off and on."""
        if self._spec.cycle:
            self._must("cycle", self._spec.cycle)
            return
        super().cycle()

    def state(self) -> bool | None:
        """Return what the command for state says, None without one or for another exit code."""
        if not self._spec.state:
            return None
        return {0: True, 1: False}.get(self._run("state", self._spec.state).returncode)

    def _switch(self, on: bool) -> None:
        verb, argv = ("on", self._spec.on) if on else ("off", self._spec.off)
        self._must(verb, argv or ())

    def _must(self, verb: str, argv: Sequence[str]) -> None:
        ended = self._run(verb, argv)
        if ended.returncode:
            said = scrub_line(ended.stderr or ended.stdout)
            raise LabError(f"power {verb}: {argv[0]} ended with {ended.returncode}: {said}")

    def _run(self, verb: str, argv: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._spec.limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            late = f"power {verb}: {argv[0]} didn't end within {self._spec.limit_s:g} s"
            raise LabError(late) from error
        except OSError as error:
            raise LabError(f"power {verb}: can't run {argv[0]}: {error.strerror}") from error
