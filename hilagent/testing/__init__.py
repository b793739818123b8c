# SPDX-License-Identifier: Apache-2.0
"""For tests, of this project's users too: scripted boards and faulty lines.

- `clock.ManualClock`: time that a test moves;
- `faults`, `filters`: what a line does to bytes; `proxy`: around streams, sockets, ptys;
- `twin.PayloadTwin`: the payload's protocol; `behaviour`: what its vectors do;
- `uboot.ScriptedUBoot`, `scripted.ScriptedBoard`: U-Boot, then the payload;
- `machine`: runs any of them in memory or on a pty;
- `speech`: a payload that speaks the protocol badly;
- `simulated.Simulation`, `switch.Switch`: that board, its line and a switch that may lie, in
  simulated time; `replayed.Replay`: a recorded run, over a line that damages it;
- `runs.run`: a whole run on one of those, as `hilagent run` does it; import these four rooms
  from there, they need all of the program;
- `ssh.SshServer`: a board's SSH server; import it from there, it needs paramiko.

A board on a pty that goes wrong at one immediate::

    from hilagent.testing import PtyBoard, ScriptedBoard, behaviour

    board = ScriptedBoard(behaviour=behaviour.hangs_at(0x1234), powered=False)
    with PtyBoard(board) as pty:
        ...  # open pty.path: a board definition with console {kind: serial, path: ...}
        pty.change(lambda: board.power(True))
"""

from hilagent.testing import behaviour, filters
from hilagent.testing.behaviour import Issued
from hilagent.testing.clock import ManualClock
from hilagent.testing.faults import Fault, Faults, Injector
from hilagent.testing.jobs import Traits
from hilagent.testing.machine import (
    Machine,
    MachineLine,
    MachineStream,
    PtyBoard,
    StreamLine,
    on_pty,
)
from hilagent.testing.proxy import FaultyStream, Proxy, SocketProxy, faulty_pty, faulty_socket
from hilagent.testing.scripted import IMAGE_HEADER, ScriptedBoard
from hilagent.testing.twin import PayloadTwin
from hilagent.testing.uboot import ScriptedUBoot, UBootTraits

__all__ = [
    "IMAGE_HEADER", "Fault", "Faults", "FaultyStream", "Injector", "Issued", "Machine",
    "MachineLine", "MachineStream", "ManualClock", "PayloadTwin", "Proxy", "PtyBoard",
    "ScriptedBoard", "ScriptedUBoot", "SocketProxy", "StreamLine", "Traits", "UBootTraits",
    "behaviour", "faulty_pty", "faulty_socket", "filters", "on_pty",
]  # fmt: skip
