# SPDX-License-Identifier: Apache-2.0
"""A lab of real labgrid processes, a coordinator and exporters, for boards that are not.

Its places stand in the coordinator's own file, which survives that; its outlets speak
labgrid's ``rest``, and its serial ports are ptys behind the exporters' own ser2net.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hilagent.testing import PtyBoard
from tests import labgrid_env
from tests.cli import shelf
from tests.transport import servers

BOARD = (
    """\
schema: 1
name: {name}
description: a scripted board at a place
soc: scripted
emulated: false
cpus: 1
console: {{kind: tcp, host: nowhere, port: 1}}
power: {{kind: manual, off_s: 0.1, timeout_s: 10}}
"""
    + shelf.UBOOT
)
START_S = 60.0


def free_port() -> int:
    """Return a port of this host that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Outlets:
    """A power strip: ``switch[N]`` is called for outlet N; ``on[N]`` is what it says."""

    def __init__(self) -> None:
        self.on: dict[str, bool] = {}
        self.told: list[tuple[str, bool]] = []
        self.switch: dict[str, Callable[[bool], object]] = {}
        outlets = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"1" if outlets.on.get(self.path[1:]) else b"0")

            def do_PUT(self) -> None:
                on = self.rfile.read(int(self.headers["Content-Length"])) == b"1"
                name = self.path[1:]
                outlets.told.append((name, on))
                outlets.on[name] = on
                if name in outlets.switch:
                    outlets.switch[name](on)
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{{index}}"

    def port(self, index: int) -> dict[str, object]:
        """Return the resource of an outlet."""
        return {"model": "rest", "host": self.url, "index": index}

    def all_off(self) -> None:
        """Take power from everything, and forget what was told."""
        for switch in self.switch.values():
            switch(False)
        self.on.clear()
        self.told.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Process:
    """One of labgrid's, in a session of its own; what it starts ends with it."""

    def __init__(self, argv: list[str], folder: Path, until: str) -> None:
        self._argv, self._folder, self._until = argv, folder, until
        self.start()

    def start(self) -> None:
        """Start it; return once it works."""
        self.process = subprocess.Popen(
            [labgrid_env.python(), "-m", *self._argv], cwd=self._folder, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        ready, heard = threading.Event(), list[str]()

        def hear() -> None:
            assert self.process.stdout is not None
            with self.process.stdout as lines:
                for line in lines:
                    heard.append(line)
                    if self._until in line:
                        ready.set()
            ready.set()

        self._listener = threading.Thread(target=hear, daemon=True)
        self._listener.start()
        assert ready.wait(START_S), heard
        assert any(self._until in line for line in heard), heard

    def kill(self) -> None:
        """End it, and what it started, as a host that loses its power."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._listener.join()


class Lab:
    """A coordinator with places, and exporters; use with ``with``.

    Args:
        places: tags by name; place ``x`` has everything of the group ``x``.
    """

    def __init__(self, folder: Path, places: Mapping[str, Mapping[str, str]]) -> None:
        self.folder, self.outlets = folder, Outlets()
        self.address = f"127.0.0.1:{free_port()}"
        said = {
            name: {"tags": dict(tags), "matches": [{"exporter": "*", "group": name, "cls": "*"}]}
            for name, tags in places.items()
        }
        (folder / "places.yaml").write_text(json.dumps(said))
        (folder / "boards").mkdir(exist_ok=True)
        argv = ["labgrid.remote.coordinator", "-l", self.address]
        self.coordinator = Process(argv, folder, "listening on")
        self.exporters: dict[str, Process] = {}

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *exc: object) -> None:
        for each in [*self.exporters.values(), self.coordinator]:
            each.kill()
        self.outlets.close()

    def export(self, name: str, groups: Mapping[str, Mapping[str, Any]] | str) -> None:
        """Start an exporter of resources, by group and class, or as its file has them."""
        text = groups if isinstance(groups, str) else json.dumps(groups)
        (self.folder / f"{name}.yaml").write_text(text)
        argv = ["labgrid.remote.exporter", "-c", self.address, "-n", name,
                "--hostname", "127.0.0.1", f"{name}.yaml"]  # fmt: skip
        self.exporters[name] = Process(argv, self.folder, "creating poll task")

    def board(self, name: str, prompt_s: int = 30) -> None:
        """Write the file of a scripted board, whose own console and power nobody has."""
        text = BOARD.format(name=name, prompt_s=prompt_s)
        (self.folder / "boards" / f"{name}.yaml").write_text(text)

    def client(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run ``labgrid-client``, as a user called bob."""
        return subprocess.run(
            [labgrid_env.python(), "-m", "labgrid.remote.client", "-x", self.address, *argv],
            env={**os.environ, "LG_USERNAME": "bob"}, capture_output=True, text=True, check=False,
        )  # fmt: skip


@contextlib.contextmanager
def raw_port(pty: str) -> Iterator[int]:
    """Run a console server that no exporter starts; give its port."""
    port = free_port()
    config = f"connection: &c#  accepter: tcp,127.0.0.1,{port}#  connector: serialdev,{pty}"
    child = subprocess.Popen(
        ["/usr/sbin/ser2net", "-n", "-u", "-Y", f"{config},115200n81,local"],
        stderr=subprocess.DEVNULL,
    )
    try:
        servers.until_open(port)
        yield port
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def scripted(lab: Lab, outlet: int, kind: str = "good") -> Iterator[str]:
    """Run a scripted board on a pty and an outlet of ``lab``; give the pty's path."""
    board = shelf.scripted(kind, outlet)
    with PtyBoard(board) as pty:
        lab.outlets.switch[str(outlet)] = lambda on: pty.change(lambda: board.power(on))
        yield pty.path
