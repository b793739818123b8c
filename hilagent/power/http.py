# SPDX-License-Identifier: Apache-2.0
"""Power by a switch on the network that speaks HTTP.

::

    power: {kind: http, device: tasmota, url: "http://192.0.2.40", outlet: 1}
    power: {kind: http, device: shelly2, url: "http://192.0.2.41", outlet: 0}
    power: {kind: http, device: pdudaemon, url: "http://pdu:16421", pdu: rack2, outlet: 7}

What is asked, and what the devices document that they answer:

* Tasmota (documentation, *Commands*, ``Power<x>``): ``/cm?cmnd=Power1%20On`` answers
  ``{"POWER1":"ON"}``, or ``{"POWER":"ON"}`` where it has one relay.
* Shelly, first generation (*Gen1 API reference*, ``/relay/{index}``):
  ``/relay/0?turn=on`` answers ``{"ison":true,...}``.
* Shelly, later ones (*Gen2+ RPC*, Switch): ``/rpc/Switch.Set?id=0&on=true`` answers what
  was before, ``/rpc/Switch.GetStatus?id=0`` ``{"output":true,...}``.
* PDUDaemon (README): ``/power/control/on?hostname=PDU&port=7`` answers 200 once it has
  put that into its queue. It never tells whether it was done.

An answer of 200 that says something else is an error. No proxy is used, and no
redirection is followed.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from hilagent.board.model import Power as Spec
from hilagent.clock import SYSTEM, Clock, Deadline
from hilagent.errors import LabError
from hilagent.power.base import Relay
from hilagent.text import scrub_line

MOST_BYTES = 1 << 16
_WORDS = {True: "on", False: "off"}
_HINTS = {
    401: "it wants a password: 'user' and 'password_file' of the board's 'power'",
    404: "is it that device, and has it that outlet?",
}


@dataclass(frozen=True)
class _Device:
    """How a device is asked.

    Attributes:
        switch, state: path and query; None: it can't be asked.
        read: returns what an answer says of the outlet, None if it says nothing.
        tells: whether the answer to ``switch`` says it too.
    """

    switch: Callable[[Spec, bool], tuple[str, Mapping[str, object]]]
    state: Callable[[Spec], tuple[str, Mapping[str, object]]] | None
    read: Callable[[Spec, Mapping[str, Any]], object]
    tells: bool = True


def _tasmota(spec: Spec, answer: Mapping[str, Any]) -> object:
    said = answer.get(f"POWER{spec.outlet}", answer.get("POWER") if spec.outlet == 1 else None)
    return {"ON": True, "OFF": False}.get(str(said))


_DEVICES = {
    "tasmota": _Device(
        lambda spec, on: ("/cm", {"cmnd": f"Power{spec.outlet} {'On' if on else 'Off'}"}),
        lambda spec: ("/cm", {"cmnd": f"Power{spec.outlet}"}),
        _tasmota,
    ),
    "shelly1": _Device(
        lambda spec, on: (f"/relay/{spec.outlet}", {"turn": _WORDS[on]}),
        lambda spec: (f"/relay/{spec.outlet}", {}),
        lambda _, answer: answer.get("ison"),
    ),
    "shelly2": _Device(
        lambda spec, on: ("/rpc/Switch.Set", {"id": spec.outlet, "on": str(on).lower()}),
        lambda spec: ("/rpc/Switch.GetStatus", {"id": spec.outlet}),
        lambda _, answer: answer.get("output"),
        tells=False,
    ),
    "pdudaemon": _Device(
        lambda spec, on: (
            f"/power/control/{_WORDS[on]}",
            {"hostname": spec.pdu, "port": spec.outlet},
        ),
        None,
        lambda _, answer: None,
        tells=False,
    ),
}


class HttpPower(Relay):
    """Asks the device; each request ends within ``spec.limit_s``.

    Args:
        pause: waits until the board is empty; its capacitors have no event to wait for.
    """

    def __init__(
        self, spec: Spec, *, clock: Clock = SYSTEM, pause: Callable[[float], object] | None = None
    ) -> None:
        assert spec.device is not None  # the model checked that
        assert spec.url is not None
        self._spec, self._device, self._clock = spec, _DEVICES[spec.device], clock
        super().__init__(spec.off_s, clock, pause)

    def state(self) -> bool | None:
        """Return what the device says of the outlet; None of one that tells nothing."""
        if self._device.state is None:
            return None
        path, query = self._device.state(self._spec)
        return self._read("state", self._ask("state", path, query))

    def _switch(self, on: bool) -> None:
        verb = _WORDS[on]
        path, query = self._device.switch(self._spec, on)
        answer = self._ask(verb, path, query)
        found = self._read(verb, answer) if self._device.tells else self.state()
        if found is (not on):
            says = f"{self._spec.url} says that the outlet is {_WORDS[not on]}"
            raise LabError(f"power {verb}: {says}", hint="is its relay locked, or worn out?")

    def _read(self, verb: str, answer: bytes) -> bool:
        try:
            said = json.loads(answer)
        except ValueError:
            said = None
        found = self._device.read(self._spec, said) if isinstance(said, dict) else None
        if not isinstance(found, bool):
            shown = scrub_line(answer.decode("utf-8", "replace"), limit=120)
            device = f"a {self._spec.device} with outlet {self._spec.outlet}"
            raise LabError(
                f"power {verb}: {self._spec.url} answered {shown or 'nothing'}",
                hint=f"expected the answer of {device}; if it warns of a user or password,"
                " give 'user' and 'password_file'",
            )
        return found

    def _ask(self, verb: str, path: str, query: Mapping[str, object]) -> bytes:
        user, password = self._credentials()
        headers = {"Connection": "close"}
        if user and self._spec.device == "tasmota":
            query = {**query, "user": user, "password": password}
        elif user:
            both = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {both}"
        where = f"{path}?{urlencode(query)}" if query else path
        try:
            status, answer = self._request(where, headers)
        except (OSError, http.client.HTTPException) as error:
            said = "" if user else str(error)  # it may repeat what it was asked
            what = getattr(error, "strerror", None) or said or type(error).__name__
            raise LabError(
                f"power {verb}: {self._spec.url} can't be asked: {scrub_line(str(what))}",
                hint="does it have power and a network? is 'power.url' right?",
            ) from error
        if status != http.client.OK:
            shown = scrub_line(answer.decode("utf-8", "replace"), limit=120)
            said = f": {shown}" if shown and not user else ""
            raise LabError(
                f"power {verb}: {self._spec.url} answered {path} with status {status}{said}",
                hint=_HINTS.get(status, ""),
            )
        return answer

    def _request(self, where: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body; raises OSError, TimeoutError for a device that is slow."""
        url, deadline = urlsplit(str(self._spec.url)), Deadline.after(self._spec.limit_s)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        line = kind(url.netloc, timeout=self._spec.limit_s)
        timer = threading.Timer(deadline.left_s(), _hang_up, [line])  # it may drip bytes
        timer.daemon = True
        timer.start()
        try:
            line.request("GET", where, headers=dict(headers))
            answer = line.getresponse()
            body = answer.read(MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            if deadline.expired():
                raise TimeoutError(0, f"no answer within {self._spec.limit_s:g} s") from error
            raise
        finally:
            timer.cancel()
            line.close()
        if deadline.expired():
            raise TimeoutError(0, f"no whole answer within {self._spec.limit_s:g} s")
        if answer.length:
            raise http.client.IncompleteRead(body, answer.length)
        return answer.status, body

    def _credentials(self) -> tuple[str, str]:
        if self._spec.user is None or self._spec.password_file is None:
            return "", ""
        path = Path(self._spec.password_file).expanduser()
        try:
            return self._spec.user, path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LabError(
                f"{path}: can't be read: {getattr(error, 'strerror', None) or 'not text'}",
                hint="it is 'power.password_file' of the board",
            ) from error


def _hang_up(line: http.client.HTTPConnection) -> None:
    if line.sock is not None:
        with contextlib.suppress(OSError):
            line.sock.shutdown(socket.SHUT_RDWR)
