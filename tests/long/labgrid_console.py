# SPDX-License-Identifier: Apache-2.0
"""labgrid's SerialDriver on a far end of the bench; runs in labgrid's own environment.

::

    python -m tests.long.labgrid_console TRIPS /dev/pts/7
    python -m tests.long.labgrid_console TRIPS 127.0.0.1 4001

Prints a :class:`tests.bench.far.Took` as JSON.
"""

from __future__ import annotations

import json
import re
import sys

from labgrid import Target
from labgrid.driver import SerialDriver
from labgrid.resource import NetworkSerialPort, RawSerialPort

from tests.bench import far

_LIMIT_S = 300


def main(trips: int, *where: str) -> None:
    """Measure it on a port of this host, or on host and port."""
    target = Target("bench")
    if len(where) == 1:
        RawSerialPort(target, name=None, port=where[0])
    else:
        NetworkSerialPort(target, name=None, host=where[0], port=int(where[1]), protocol="raw")
    driver = SerialDriver(target, name=None)
    target.activate(driver)

    def until(pattern: bytes) -> None:
        driver.expect(re.escape(pattern.decode()), timeout=_LIMIT_S)

    print(json.dumps(far.took(driver.write, until, trips)))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
