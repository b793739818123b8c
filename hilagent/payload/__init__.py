# SPDX-License-Identifier: Apache-2.0
"""What the running payload can be asked.

::

    with console.take("payload") as line:
        payload = connect(line, run_id=run_id, deadline=Deadline.after(20))
        payload.start_cpus()
        passes = payload.sweep([SweepRequest(cpu=n) for n in range(4)])

Entered by a kexec that carried a bundle (`hilagent.deploy.bundle`) along as its initrd,
it starts the next kernel::

    payload = connect(console.take("payload"), ..., unasked=True)
    cargo = look(payload, expect=index)
    payload.start_cpus(elsewhere=foreign_cpus(payload, cargo))
    ...
    hand_over(payload, cargo, cmdline=cmdline)
"""

from .cargo import Cargo, foreign_cpus, look
from .channel import ByteLine
from .client import Payload
from .connect import connect
from .facts import CallResult, Hello
from .handover import Handover, hand_over
from .sweep import DEFAULT_SEED, SweepRequest
from .trouble import (
    Dying,
    Evidence,
    Hang,
    JobStatus,
    NoEl2,
    PayloadFault,
    Place,
    Refused,
    ResetInJob,
    Silence,
)

__all__ = [
    "DEFAULT_SEED", "ByteLine", "CallResult", "Cargo", "Dying", "Evidence", "Handover", "Hang",
    "Hello", "JobStatus", "NoEl2", "Payload", "PayloadFault", "Place", "Refused",
    "ResetInJob", "Silence", "SweepRequest", "connect", "foreign_cpus", "hand_over", "look",
]  # fmt: skip
