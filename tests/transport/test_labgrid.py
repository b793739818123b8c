# SPDX-License-Identifier: Apache-2.0
"""A console that ends with its place; the contract of streams is asked of it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hilagent import errors
from hilagent.console import Console
from hilagent.transport.base import FdStream
from hilagent.transport.labgrid import PlaceStream
from tests.transport import servers
from tests.transport.helper import Ends, FakePlace, labgrid, send, soon


@pytest.fixture
def ends() -> Iterator[Ends]:
    with labgrid() as ends:
        yield ends


def place_of(ends: Ends) -> FakePlace:
    assert isinstance(ends.stream, PlaceStream)
    assert isinstance(ends.stream._place, FakePlace)
    return ends.stream._place


def test_a_place_that_is_lost_ends_the_console_though_the_port_goes_on(ends: Ends) -> None:
    place = place_of(ends)
    with Console(ends.stream) as console:
        place.gone = "place a was taken away"
        with pytest.raises(errors.LinkError, match="the console ended: place a was taken away"):
            console.wait(0, soon())
    with pytest.raises(errors.LinkError, match="taken away"):
        ends.stream.write(b"x")


def test_a_port_that_ends_says_what_is_known_of_its_exporter(ends: Ends) -> None:
    ends.hang_up()
    said = r"ended: .*exporter east of place a keeps"
    with Console(ends.stream) as console, pytest.raises(errors.LinkError, match=said):
        console.wait(0, soon())


def test_a_break_is_sent_where_the_port_can(ends: Ends) -> None:
    with Console(ends.stream) as console, pytest.raises(errors.Unsupported, match="bytes only"):
        console.send_break()
    with labgrid(servers.ser2net) as other, Console(other.stream) as console:
        console.send_break()


def test_it_is_no_other_stream_than_that_of_its_port(ends: Ends) -> None:
    stream = ends.stream
    assert isinstance(stream, PlaceStream)
    assert isinstance(stream._stream, FdStream)
    assert stream.fileno() == stream._stream.fileno()
    assert not stream.paused
    send(stream, b"word")
