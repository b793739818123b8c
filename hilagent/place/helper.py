# SPDX-License-Identifier: Apache-2.0
"""Speaks to a labgrid coordinator; runs alone, in the Python that has labgrid.

``python -I helper.py HOST:PORT``, with ``$LG_HOSTNAME`` and ``$LG_USERNAME`` as the name of
who acquires. Lines of JSON come in: a ``number``, what to ``do``, and its arguments; the
answer has the same number, and ``error`` with its ``kind`` where it could not be done::

    places                 places: of each name, tags, acquired
    acquire place          tags, exporters; serial (host, port, speed, protocol) and power,
                           or the error of either
    reserve tags           token, place (once it is our turn), places (that would do)
    poll token             the same
    cancel token
    power verb (on, off, get)   state
    release

Unasked it says an ``event``: ``ready``; ``failed``; ``away`` (the coordinator doesn't
answer), ``back`` (the place is ours again, or still); ``lost`` for good: by ``taken``,
``exporter``, ``coordinator`` or a ``bug`` in here. When its input ends, so does it: a board
that it switched on is switched off, and a place that it still has is released.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from typing import IO, Any

import grpc
from labgrid import Target, target_factory
from labgrid.remote.client import ClientSession, Error
from labgrid.remote.generated import labgrid_coordinator_pb2 as pb
from labgrid.resource.remote import RemotePlace, RemotePlaceManager
from labgrid.util import labgrid_version
from labgrid.util.proxy import proxymanager

CONNECT_S, OFF_S = 15.0, 10.0
RETRY_S = 0.5
"""Between two tries to find a coordinator that went away: nothing tells when it is back."""
RETAKE_S = 60.0
"""How long a place may be unknown to one that is back before it counts as lost."""

POWER = {
    "NetworkPowerPort": "NetworkPowerDriver",
    "NetworkSiSPMPowerPort": "SiSPMPowerDriver",
    "NetworkUSBPowerPort": "USBPowerDriver",
    "NetworkYKUSHPowerPort": "YKUSHPowerDriver",
    "PDUDaemonPort": "PDUDaemonDriver",
    "TasmotaPowerPort": "TasmotaPowerDriver",
}
"""What ``labgrid-client power`` switches, but for the GPIO lines: the port, its driver."""


class Failed(Exception):
    """It can't be done; ``kind`` is for the program, the text for a person."""

    def __init__(self, kind: str, text: str, **more: Any) -> None:
        super().__init__(text)
        self.kind, self.more = kind, more


class Session(ClientSession):  # type: ignore[misc]
    """A client that tells when something has changed."""

    news: asyncio.Event

    async def on_place_changed(self, place: Any) -> None:
        await super().on_place_changed(place)
        self.news.set()

    async def on_resource_changed(self, *args: Any) -> None:
        await super().on_resource_changed(*args)
        self.news.set()

    async def message_pump(self) -> None:
        try:
            await super().message_pump()
        finally:
            self.news.set()


class Lab:
    """One client of one coordinator, which has one place at most; ``say`` writes a line."""

    def __init__(self, address: str, say: Any) -> None:
        self.address, self.say = address, say
        self.loop = asyncio.get_running_loop()
        self.name = f"{os.environ['LG_HOSTNAME']}/{os.environ['LG_USERNAME']}"
        self.news, self.lock, self.switching = asyncio.Event(), asyncio.Lock(), asyncio.Lock()
        self.session: Session | None = None
        self.place, self.paths, self.tokens = "", set[tuple[str, ...]](), set[str]()
        self.switch: Any = None
        self.on = False
        self.away, self.back_s = False, 0.0  # when it came back, by the loop's clock

    async def connect(self) -> None:
        """Find the coordinator, and hear all that it knows."""
        session = Session(proxymanager.get_grpc_address(self.address), self.loop)
        session.news = self.news
        try:
            await asyncio.wait_for(session.start(), CONNECT_S)
        except (Error, TimeoutError):
            await session.stop()
            await session.close()
            raise Failed("gone", f"no labgrid coordinator answers at {self.address}") from None
        self.session = session

    def there(self) -> Session:
        """Return the session; Failed while there is no coordinator."""
        if self.session is None or self.session.stopping.is_set():
            raise Failed("gone", f"the labgrid coordinator at {self.address} is gone")
        return self.session

    async def mind(self) -> None:
        """Look at each change, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), RETRY_S if self.away else None)
            self.news.clear()
            try:
                async with self.lock:
                    await self.look()
            except Exception as exc:  # who can't look doesn't know whose the place is
                self.lose("bug", f"labgrid: {type(exc).__name__}: {exc}")

    async def look(self) -> None:
        """Tell what is new: of the coordinator, then of the place."""
        if self.session is not None and self.session.stopping.is_set():
            await self.session.close()
            self.session, self.away = None, True
            self.say(event="away", text=f"the labgrid coordinator at {self.address} is gone")
        if self.session is None:
            with contextlib.suppress(Failed):
                await self.connect()
                self.back_s = self.loop.time()
        if self.session is not None and self.away:
            await self.retake(self.session)
        elif self.session is not None and self.place:
            await self.session.sync_with_coordinator()  # what belongs together comes one by one
            self.judge(self.session)

    async def retake(self, session: Session) -> None:
        """Have the place again after the coordinator was away; it forgets who had what."""
        place = session.places.get(self.place)
        if self.place and place is None:  # it may still be reading its file
            if self.loop.time() - self.back_s > RETAKE_S:
                gone = f"the labgrid coordinator at {self.address} has no place {self.place} now"
                self.lose("coordinator", gone)
            return
        if place is not None and not place.acquired:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await session.stub.AcquirePlace(pb.AcquirePlaceRequest(placename=self.place))
            await session.sync_with_coordinator()
            place = session.places.get(self.place)
            if place is None or not place.acquired:
                return
        self.away = False
        if place is not None and place.acquired == self.name:
            self.paths = {tuple(path) for path in place.acquired_resources}
            self.say(event="back", text=f"it is back, and place {self.place} is ours")
        if self.place:
            self.judge(session)

    def judge(self, session: Session) -> None:
        """Tell if the place, or something of it, is ours no more."""
        place = session.places.get(self.place)
        if place is None or place.acquired != self.name:
            by = place.acquired if place is not None else None
            said = f"acquired by {by}" if by else "released by somebody (release --kick?)"
            return self.lose("taken", f"place {self.place} was taken away: it is {said}")
        for exporter, group, kind, name in sorted(self.paths):
            groups = session.resources.get(exporter, {})
            if "cls" not in getattr(groups.get(group, {}).get(name), "data", {}):
                known = any("cls" in e.data for each in groups.values() for e in each.values())
                what = f"no longer has {kind} {group}/{name}" if known else "is gone"
                return self.lose("exporter", f"exporter {exporter} of place {self.place} {what}")
        return None

    def lose(self, kind: str, text: str) -> None:
        """Tell that the place is lost, once; one that is somebody else's is left alone."""
        self.say(event="lost", kind=kind, text=text)
        self.paths = set()
        if kind in ("taken", "coordinator"):
            self.place, self.on = "", False

    async def do_places(self) -> dict[str, Any]:
        return {"places": [_told(place) for place in self.there().places.values()]}

    async def do_acquire(self, place: str) -> dict[str, Any]:
        async with self.lock:
            session = self.there()
            await self.take(session, place)
            self.place = place
            await session.sync_with_coordinator()
            found = session.places[place]
            self.paths = {tuple(path) for path in found.acquired_resources}
            target = self.target(session)
            return {
                "tags": dict(found.tags), "exporters": sorted({path[0] for path in self.paths}),
                "serial": await _or_error(_serial, target),
                "power": await _or_error(self.powered, target),
            }  # fmt: skip

    async def take(self, session: Session, place: str) -> None:
        """Acquire it, or say why that can't be."""
        if place not in session.places:
            hint = f"its places: {', '.join(sorted(session.places)) or 'none'}"
            text = f"the labgrid coordinator at {self.address} has no place {place}"
            raise Failed("unknown", text, hint=hint)
        if by := session.places[place].acquired:
            raise Failed("taken", f"place {place} is acquired by {by}", by=by)
        try:
            session.check_matches(session.places[place])
        except Error as exc:
            hint = "is its exporter running?"
            raise Failed("exporter", f"place {place}: {exc.args[0]}", hint=hint) from exc
        await self.called(session.stub.AcquirePlace, pb.AcquirePlaceRequest(placename=place))

    def target(self, session: Session) -> Any:
        """Return the place's resources as labgrid's drivers want them."""
        manager = RemotePlaceManager.get()
        manager.session, manager.loop, manager.env = session, self.loop, None
        target = Target(self.place)
        RemotePlace(target, name=self.place)
        return target

    def powered(self, target: Any) -> dict[str, Any]:
        """Make the switch; return which it is."""
        port = _only(target, POWER, "power")
        kind = type(port).__name__
        target.set_binding_map({"port": port.name})
        self.switch = target_factory.class_from_string(POWER[kind])(target, name=None)
        target.activate(self.switch)
        return {"kind": kind}

    async def do_reserve(self, tags: dict[str, str]) -> dict[str, Any]:
        wanted = {"main": pb.Reservation.Filter(filter=tags)}
        request = pb.CreateReservationRequest(filters=wanted, prio=0.0)
        async with self.lock:
            made = await self.called(self.there().stub.CreateReservation, request)
            self.tokens.add(made.reservation.token)
        return self.turn(made.reservation)

    async def do_poll(self, token: str) -> dict[str, Any]:
        request = pb.PollReservationRequest(token=token)
        found = await self.called(self.there().stub.PollReservation, request)
        return self.turn(found.reservation)

    def turn(self, made: Any) -> dict[str, Any]:
        """Return what is to be known of a reservation."""
        wanted, places = dict(made.filters["main"].filter).items(), self.there().places.values()
        fit = [_told(p) for p in places if wanted <= {**p.tags, "name": p.name}.items()]
        return {"token": made.token, "place": made.allocations.get("main"), "places": fit}

    async def do_cancel(self, token: str) -> dict[str, Any]:
        self.tokens.discard(token)
        request = pb.CancelReservationRequest(token=token)
        await self.called(self.there().stub.CancelReservation, request)
        return {}

    async def called(self, method: Any, request: Any) -> Any:
        """Return what the coordinator answers."""
        try:
            return await method(request)
        except grpc.aio.AioRpcError as exc:
            kind = "gone" if exc.code() == grpc.StatusCode.UNAVAILABLE else "refused"
            raise Failed(kind, f"the labgrid coordinator says: {exc.details()}") from exc

    async def do_power(self, verb: str) -> dict[str, Any]:
        async with self.switching:
            if not self.place or self.switch is None:
                raise Failed("lost", "the place isn't ours any more")
            if verb == "on":
                self.on = True
            try:
                state = await asyncio.to_thread(getattr(self.switch, verb))
            except Exception as exc:
                if verb == "get" and isinstance(exc, NotImplementedError | AttributeError):
                    return {"state": None}
                raise Failed("power", f"{type(self.switch).__name__}: {exc}") from exc
            if verb == "off":
                self.on = False
            return {"state": bool(state) if verb == "get" else None}

    async def do_release(self) -> dict[str, Any]:
        async with self.lock:
            place, self.place, self.paths = self.place, "", set()
            if place:  # by this name alone: whoever has it now keeps it
                request = pb.ReleasePlaceRequest(placename=place, fromuser=self.name)
                await self.called(self.there().stub.ReleasePlace, request)
            return {}

    async def end(self) -> None:
        """Leave nothing behind."""
        if self.on and self.place:
            try:
                await asyncio.wait_for(self.do_power("off"), OFF_S)
            except Exception as exc:  # whatever it is, the place is given back
                print(f"power off: {type(exc).__name__}: {exc}", file=sys.stderr)
        for token in list(self.tokens):
            with contextlib.suppress(Failed):
                await self.do_cancel(token)
        with contextlib.suppress(Failed):
            await self.do_release()


def _told(place: Any) -> dict[str, Any]:
    return {"name": place.name, "tags": dict(place.tags), "acquired": place.acquired}


async def _or_error(make: Any, target: Any) -> dict[str, Any]:
    """Return what ``make`` does, in a thread: it may wait for a tunnel."""
    try:
        made: dict[str, Any] = await asyncio.to_thread(make, target)
    except Exception as exc:
        return {"error": str(exc) if isinstance(exc, Failed) else f"{type(exc).__name__}: {exc}"}
    return made


def _serial(target: Any) -> dict[str, Any]:
    """Return where the serial port is."""
    port = _only(target, ("NetworkSerialPort",), "console")
    if not port.avail or port.port is None:
        raise Failed("exporter", "its exporter says that the serial port isn't there: unplugged?")
    host, number = proxymanager.get_host_and_port(port)
    return {"host": host, "port": number, "speed": port.speed, "protocol": port.protocol}


def _only(target: Any, kinds: Any, called: str) -> Any:
    """Return the resource of ``kinds``; of several the one that has that name."""
    found = [each for each in target.resources if type(each).__name__ in kinds]
    named = [each for each in found if each.name == called]
    if len(found) == 1 or len(named) == 1:
        return (named or found)[0]
    names = ", ".join(sorted(f"{type(each).__name__} {each.name}" for each in found)) or "none"
    wanted = f"one {' or '.join(kinds)}, or one called '{called}' (add-named-match)"
    raise Failed("resources", f"expected {wanted}, found {names}")


async def _serve(lab: Lab, asked: dict[str, Any]) -> None:
    number, do = asked.pop("number"), asked.pop("do")
    try:
        answer = await getattr(lab, f"do_{do}")(**asked)
    except Failed as exc:
        answer = {"error": str(exc), "kind": exc.kind, **exc.more}
    except Exception as exc:
        answer = {"error": f"{type(exc).__name__}: {exc}", "kind": "bug"}
    lab.say(number=number, **answer)


async def _run(address: str, say: Any) -> None:
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def read() -> None:
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, b"")

    loop.add_signal_handler(signal.SIGTERM, lines.put_nowait, b"")
    lab = Lab(address, say)
    try:
        await lab.connect()
    except Failed as exc:
        say(event="failed", kind=exc.kind, text=str(exc))
        return
    threading.Thread(target=read, daemon=True).start()
    minder, serving = loop.create_task(lab.mind()), set[Any]()
    say(event="ready", labgrid=labgrid_version())
    while line := await lines.get():
        task = loop.create_task(_serve(lab, json.loads(line)))
        serving.add(task)
        task.add_done_callback(serving.discard)
    minder.cancel()
    await lab.end()
    sys.stderr.flush()
    os._exit(0)  # a driver that hangs has a thread, and would keep this one


def main(address: str) -> None:
    """Serve until the input ends; whatever labgrid prints goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out: IO[str] = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**said: Any) -> None:
        with contextlib.suppress(OSError):
            print(json.dumps(said), file=out, flush=True)

    asyncio.run(_run(address, say))


if __name__ == "__main__":
    main(sys.argv[1])
