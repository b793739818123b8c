# SPDX-License-Identifier: Apache-2.0
"""What the running payload can be asked.

::

    with console.take("payload") as line:
        payload = connect(line, run_id=run_id, deadline=Deadline.after(20))
        payload.start_cpus()
        passes = payload.sweep([SweepRequest(cpu=n) for n in range(4)])
"""

from .channel import ByteLine
from .client import Payload
from .connect import connect
from .facts import CallResult, Hello
from .sweep import DEFAULT_SEED, SweepRequest
from .trouble import (
    Dying,
    Evidence,
    Hang,
    JobStatus,
    PayloadFault,
    Place,
    Refused,
    ResetInJob,
    Silence,
)

__all__ = [
    "DEFAULT_SEED", "ByteLine", "CallResult", "Dying", "Evidence", "Hang", "Hello", "JobStatus",
    "Payload", "PayloadFault", "Place", "Refused", "ResetInJob", "Silence", "SweepRequest",
    "connect",
]  # fmt: skip
