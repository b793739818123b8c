# SPDX-License-Identifier: Apache-2.0
"""Switches on the network: servers on loopback that answer as the devices document, or badly."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hilagent.board.model import Power as Spec
from hilagent.errors import LabError
from hilagent.power.http import HttpPower

SECRET = "s3cret&word"


class Device:
    """One relay behind an HTTP server.

    Attributes:
        stuck: it answers what it was, and stays that.
        asked: path and query of each request.
    """

    def __init__(self, answer: Callable[[Device, str, dict[str, str]], object]) -> None:
        self.answer, self.on, self.stuck = answer, False, False
        self.asked: list[str] = []
        self.authorization: list[str | None] = []

    def turn(self, on: bool) -> bool:
        before, self.on = self.on, self.on if self.stuck else on
        return before


def _tasmota(device: Device, path: str, query: dict[str, str]) -> object:
    if query.get("password", SECRET) != SECRET:
        return {"WARNING": "Need user=<username>&password=<password>"}
    words = query["cmnd"].split()
    if path != "/cm" or words[0] != "Power2":
        return {"Command": "Unknown"}
    if words[1:]:
        device.turn(words[1] == "On")
    return {"POWER2": "ON" if device.on else "OFF"}


def _shelly1(device: Device, path: str, query: dict[str, str]) -> object:
    assert path == "/relay/2"
    if "turn" in query:
        device.turn(query["turn"] == "on")
    return {"ison": device.on, "has_timer": False, "source": "http"}


def _shelly2(device: Device, path: str, query: dict[str, str]) -> object:
    assert query["id"] == "2"
    if path == "/rpc/Switch.Set":
        return {"was_on": device.turn(query["on"] == "true")}
    assert path == "/rpc/Switch.GetStatus"
    return {"id": 2, "source": "HTTP_in", "output": device.on, "temperature": {"tC": 40.1}}


DEVICES: dict[Any, Callable[[Device, str, dict[str, str]], object]] = {
    "tasmota": _tasmota,
    "shelly1": _shelly1,
    "shelly2": _shelly2,
}


@contextlib.contextmanager
def served(device: Device) -> Iterator[str]:
    """Serve ``device`` on loopback; yields its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            device.asked.append(self.path)
            device.authorization.append(self.headers["Authorization"])
            url = urlsplit(self.path)
            query = {name: value[0] for name, value in parse_qs(url.query).items()}
            body = json.dumps(device.answer(device, url.path, query)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def spec(url: str, device: Any = "shelly1", **more: Any) -> Spec:
    return Spec("http", device=device, url=url, outlet=2, off_s=0.1, **more)


@pytest.mark.parametrize("name", DEVICES)
def test_each_device_is_switched_and_says_so(name: str) -> None:
    device = Device(DEVICES[name])
    with served(device) as url:
        switch = HttpPower(spec(url, name))
        assert switch.state() is False
        switch.on()
        assert (switch.state(), device.on) == (True, True)
        switch.off()
        assert (switch.state(), device.on) == (False, False)
        switch.cycle()
        assert (switch.state(), device.on) == (True, True)
    assert switch.alive() is None
    assert device.authorization == [None] * len(device.asked)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("verb", ["on", "off"])
def test_a_device_that_says_the_opposite_has_not_switched(name: str, verb: str) -> None:
    device = Device(DEVICES[name])
    device.on, device.stuck = verb == "off", True
    opposite = {"on": "off", "off": "on"}[verb]
    with (
        served(device) as url,
        pytest.raises(LabError, match=f"power {verb}: {url} says that the outlet is {opposite}"),
    ):
        getattr(HttpPower(spec(url, name)), verb)()


def test_time_without_power_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []
    with served(Device(_shelly1)) as url:
        switch = HttpPower(spec(url), pause=paused.append)
        switch.on()
        switch.cycle()
    (once,) = paused
    assert 0 < once <= 0.1


def test_a_password_is_given_as_the_device_wants_it_and_nobody_else_sees_it(
    tmp_path: Path,
) -> None:
    own = {"user": "lab", "password_file": str(tmp_path / "password")}
    (tmp_path / "password").write_text(f"{SECRET}\n")
    tasmota, shelly = Device(_tasmota), Device(_shelly1)
    with served(tasmota) as url:
        HttpPower(spec(url, "tasmota", **own)).on()
    assert parse_qs(urlsplit(tasmota.asked[0]).query)["password"] == [SECRET]
    with served(shelly) as url:
        HttpPower(spec(url, **own)).on()
    assert shelly.authorization == [f"Basic {base64.b64encode(f'lab:{SECRET}'.encode()).decode()}"]
    for answer in (b"HTTP/1.1 401 No\r\n\r\n" + SECRET.encode(), b"", b"rubbish"):
        for name in ("tasmota", "shelly1"):
            with raw(answer) as url, pytest.raises(LabError) as caught:
                HttpPower(spec(url, name, **own)).on()
            assert SECRET not in caught.value.message + caught.value.hint
            assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), (b"\xff", "not text")])
def test_a_password_that_can_not_be_read_is_named_by_its_file(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    own = {"user": "lab", "password_file": str(tmp_path / "password")}
    with pytest.raises(LabError, match=f"password: can't be read: {said}") as caught:
        HttpPower(spec("http://127.0.0.1:1", **own)).on()
    assert "power.password_file" in caught.value.hint


@contextlib.contextmanager
def raw(answer: bytes | None) -> Iterator[str]:
    """Answer every connection with these bytes, or with none and never; yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as held:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line = held.enter_context(server.accept()[0])
                    line.recv(4096)
                    if answer is not None:
                        line.sendall(answer)
                        line.shutdown(socket.SHUT_RDWR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "can't be asked: Remote end closed"),
        (b"SSH-2.0-OpenSSH_9\r\n", "can't be asked"),
        (HEAD % 40 + b'{"ison":true', "can't be asked: IncompleteRead"),
        (HEAD % 7 + b"\x1b[2Jyes", "answered yes"),
        (HEAD % 0, "answered nothing"),
        (HEAD % 13 + b'{"ison":"on"}', 'answered {"ison":"on"}'),
        (HEAD % 8 + b"[" * 8, r"answered \[\[\[\[\[\[\[\["),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
            "answered /relay/2 with status 302",
        ),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "answered /relay/2 with status 401"),
        (
            b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nburnt",
            "answered /relay/2 with status 500: burnt",
        ),
    ],
)
def test_an_answer_that_is_none_is_the_labs(answer: bytes, said: str) -> None:
    with raw(answer) as url, pytest.raises(LabError, match=f"power on: {url} {said}") as caught:
        HttpPower(spec(url)).on()
    assert "\x1b" not in caught.value.message


def test_a_device_that_is_not_there_or_says_nothing_does_not_hold_us_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    gone = spec(f"http://127.0.0.1:{port}")
    with pytest.raises(LabError, match="can't be asked: Connection refused") as caught:
        HttpPower(gone).off()
    assert "power.url" in caught.value.hint
    with raw(None) as url, pytest.raises(LabError, match=r"no answer within 0\.2 s|timed out"):
        HttpPower(spec(url, timeout_s=0.2)).state()


def test_a_device_that_drips_its_answer_is_late_all_the_same() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            line = server.accept()[0]
            with contextlib.suppress(OSError), line:
                line.recv(4096)
                line.sendall(HEAD % 1000)
                while True:
                    line.sendall(b" ")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(LabError, match="power state"):
            HttpPower(spec(url, timeout_s=0.3)).state()
        thread.join()
