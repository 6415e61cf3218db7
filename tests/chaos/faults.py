"""The faults of connections and processes. The seed makes all choices, but not the state in which a fault happens."""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from .crew import Diary, Member
from .proxy import Channel, Proxy, Way

PAUSE = 6
MEMBER_PAUSE = 40
"""The average time between two faults of one proxy, and of one process, in heartbeats."""

SHORT = (0.2, 2.4)
LONG = (3.2, 9.0)
"""How long faults last, in heartbeats. After three of them in silence a node takes a peer for lost."""


@dataclass(eq=False)
class LinkChaos:
    """The faults of one proxy, one after the other.

    Args:
      proxy, heartbeat, random, diary: the objects of these names in `campaign.py`.
      until: no fault begins after that time.
    """

    proxy: Proxy
    heartbeat: float
    random: random.Random
    diary: Diary
    until: float

    async def run(self) -> None:
        """Make faults until the time is over, and end the last one."""
        on_channels: tuple[Callable[[Channel], Awaitable[None]], ...] = (
            *(self._reset, self._reset, self._half_close),
            *(self._stall, self._stall, self._stall, self._split, self._split, self._black_hole, self._black_hole),
        )
        on_new = (self._refuse, self._mute)
        while (now := trio.current_time()) < self.until:
            await trio.sleep(min(self.random.expovariate(1 / PAUSE) * self.heartbeat, self.until - now))
            kind = self.random.randrange(len(on_channels) + len(on_new))
            if kind < len(on_new):
                await on_new[kind]()
            elif self.proxy.channels:
                await on_channels[kind - len(on_new)](self.random.choice(self.proxy.channels))

    def _note(self, kind: str, detail: str = "") -> None:
        self.diary.note(time.monotonic(), self.proxy.name, kind, detail)

    def _ways(self, channel: Channel) -> tuple[tuple[Way, ...], str]:
        """Pick one direction or both; return it with its name."""
        which = self.random.randrange(3)
        return ((channel.ways[:1], "there"), (channel.ways[1:], "back"), (channel.ways, "both ways"))[which]

    def _duration(self) -> tuple[float, str]:
        """Pick a duration in seconds; return it with its name."""
        name = self.random.choice(("short", "long"))
        return self.random.uniform(*(SHORT if name == "short" else LONG)) * self.heartbeat, name

    async def _reset(self, channel: Channel) -> None:
        self._note("reset")
        channel.reset()

    async def _half_close(self, channel: Channel) -> None:
        """Tell one side that the other has ended its direction, which is not so; later reset the connection."""
        way = self.random.choice(channel.ways)
        seconds, _ = self._duration()
        self._note("half-close", f"{'there' if way is channel.ways[0] else 'back'}, reset after {seconds:.2f} s")
        way.end_early()
        await trio.sleep(seconds)
        channel.reset()

    async def _stall(self, channel: Channel) -> None:
        """Hold up the bytes on their way, and let them go on later."""
        ways, which = self._ways(channel)
        seconds, name = self._duration()
        self._note(f"{name} stall", f"{which}, {seconds:.2f} s")
        gate = trio.Event()
        for way in ways:
            way.gate = gate
        await trio.sleep(seconds)
        gate.set()

    async def _black_hole(self, channel: Channel) -> None:
        """Let bytes vanish. No TCP connection goes on after that, so reset the connection in the end."""
        ways, which = self._ways(channel)
        seconds, name = self._duration()
        self._note(f"{name} black hole", f"{which}, {seconds:.2f} s")
        for way in ways:
            way.swallows = True
        await trio.sleep(seconds)
        channel.reset()

    async def _split(self, channel: Channel) -> None:
        pieces = self.random.choice((1, 7, 100, 3000))
        seconds = self.random.uniform(1, 10) * self.heartbeat
        self._note("split", f"into 1 to {pieces} bytes, {seconds:.2f} s")
        for way in channel.ways:
            way.pieces, way.until = pieces, trio.current_time() + seconds
        await trio.sleep(seconds)

    async def _refuse(self) -> None:
        """Reset new connections; and also the present one, so that a node dials."""
        seconds, _ = self._duration()
        self._note("refusal", f"{seconds:.2f} s")
        self.proxy.refuses = True
        for channel in tuple(self.proxy.channels):
            channel.reset()
        await trio.sleep(seconds)
        self.proxy.refuses = False

    async def _mute(self) -> None:
        """Accept new connections and keep silent on them for a while; reset the present one, so that a node dials."""
        seconds, name = self._duration()
        self._note(f"{name} muteness", f"{seconds:.2f} s")
        self.proxy.mute = trio.Event()
        for channel in tuple(self.proxy.channels):
            channel.reset()
        await trio.sleep(seconds)
        self.proxy.mute.set()


@dataclass(eq=False)
class MemberChaos:
    """The faults of one process, one after the other.

    Args:
      member, heartbeat, random, diary: the objects of these names in `campaign.py`.
      until: no fault begins after that time.
      restarted: called when the process listens again, and when it does not listen any more.
    """

    member: Member
    heartbeat: float
    random: random.Random
    diary: Diary
    until: float
    restarted: Callable[[], None]

    async def run(self, nursery: trio.Nursery) -> None:
        """Make faults until the time is over; then leave the process running. Raises `Unexpected`."""
        while (now := trio.current_time()) < self.until:
            pause = self.random.expovariate(1 / MEMBER_PAUSE) * self.heartbeat
            await trio.sleep(min(pause, self.until - now))
            kind = self.random.choice(("stop", "stop", "stop", "kill", "exit", "stop and kill"))
            seconds, name = self.random.choice((SHORT, LONG)), ""
            duration = self.random.uniform(*seconds) * self.heartbeat
            if "stop" in kind:
                name = "short " if seconds is SHORT else "long "
            self.diary.note(time.monotonic(), self.member.name, f"{name}{kind}", f"{duration:.2f} s")
            if "stop" in kind:
                self.member.signal(signal.SIGSTOP)
                await trio.sleep(duration)
            if kind == "stop":
                self.member.signal(signal.SIGCONT)
                continue
            await (self.member.exit() if kind == "exit" else self.member.kill())
            self.restarted()
            if kind != "stop and kill":
                # Restart at once, or when all nodes have noticed the loss.
                await trio.sleep(duration * math.floor(self.random.random() * 2))
            await self.member.restart(nursery)
            self.restarted()
            self.diary.note(time.monotonic(), self.member.name, "restart")
