"""Frames on their way: late, lost, twice and in another order.

A frame crosses as bytes, by the real codec. In calm weather a wire keeps the order, as TCP
does. In bad weather it does what TCP never does within one connection: it loses single
frames, brings some twice (the second one late) and lets some overtake others. Such a wire is
`harmed`: commands and reports must bear that all the same, but what an instance looks like is
told once, so a harmed wire shows the truth only after the next connection.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.codec import decode_from_agent, decode_from_coordinator, encode
from protocol.messages import ToAgent, ToCoordinator

LATE = (0.5, 5.0, 40.0)
"""Seconds that a frame which loses its place is late at most: one of these."""


TICK = 1e-6
"""Seconds between two frames of one wire: timers of one moment have no order."""


@dataclass
class Weather:
    """Chances for each frame, 0 to 1, and the usual delay in seconds."""

    loss: float = 0.0
    double: float = 0.0
    overtaken: float = 0.0
    delay: float = 0.01


@dataclass
class Network:
    """All wires. `cut_off` hosts hear and say nothing, and nobody is told."""

    chance: random.Random
    weather: Weather = field(default_factory=Weather)
    cut_off: set[str] = field(default_factory=set)

    def delay(self) -> float:
        return self.weather.delay * self.chance.uniform(0.5, 1.5)


class Wire:
    """One connection of one host; either side may end it."""

    def __init__(
        self,
        network: Network,
        host_id: str,
        to_coordinator: Callable[[ToCoordinator | None], None],
        to_agent: Callable[[ToAgent | None], None],
    ) -> None:
        """The callbacks get frames, and None when the other side has ended the connection."""
        self.network = network
        self.host_id = host_id
        self.harmed = False
        self._to_coordinator = to_coordinator
        self._to_agent = to_agent
        self._last_arrival = {True: 0.0, False: 0.0}

    def send_up(self, frame: ToCoordinator) -> None:
        """From the agent."""
        data = encode(frame)
        self._carry(up=True, deliver=lambda: self._to_coordinator(decode_from_agent(data)))

    def send_down(self, frame: ToAgent) -> None:
        """From the coordinator."""
        data = encode(frame)
        self._carry(up=False, deliver=lambda: self._to_agent(decode_from_coordinator(data)))

    def end(self, *, by_agent: bool) -> None:
        """Let the other side know, behind all that is on its way."""
        tell = self._to_coordinator if by_agent else self._to_agent
        if self.host_id not in self.network.cut_off:
            self._at(up=by_agent, deliver=lambda: tell(None))

    def _carry(self, *, up: bool, deliver: Callable[[], None]) -> None:
        chance, weather = self.network.chance, self.network.weather
        if self.host_id in self.network.cut_off or chance.random() < weather.loss:
            self.harmed = True
            return
        if chance.random() < weather.double:
            self._late(deliver)
        if chance.random() < weather.overtaken:
            self._late(deliver)
        else:
            self._at(up=up, deliver=deliver)

    def _late(self, deliver: Callable[[], None]) -> None:
        self.harmed = True
        late = self.network.chance.uniform(0.0, self.network.chance.choice(LATE))
        asyncio.get_running_loop().call_later(self.network.delay() + late, deliver)

    def _at(self, *, up: bool, deliver: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        arrival = max(loop.time() + self.network.delay(), self._last_arrival[up] + TICK)
        self._last_arrival[up] = arrival
        loop.call_at(arrival, deliver)
