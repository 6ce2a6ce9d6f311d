"""The cables between guests: pairs of sockets, and a tap that keeps what they carry."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from select import EPOLLIN, epoll
from socket import AF_UNIX, SO_SNDBUF, SOCK_DGRAM, SOL_SOCKET, socket, socketpair
from typing import Self

from ipvkit.tools.pcap import Frame

_BUFFER_BYTES = 1 << 20
"""What a cable holds of frames that the other end has not read."""

_LONGEST_FRAME = 1 << 17

_MOST_S = 1.0
"""How long a frame waits until the other end takes it, in seconds."""


@dataclass(frozen=True, slots=True)
class CableFrame:
    """A frame on the cable of `host`, where the link of the cable is called `dev`."""

    host: str
    dev: str
    frame: Frame


def cable() -> tuple[socket, socket]:
    """Return both ends of a cable."""
    ends = socketpair(AF_UNIX, SOCK_DGRAM)
    for end in ends:
        end.setsockopt(SOL_SOCKET, SO_SNDBUF, _BUFFER_BYTES)
    return ends


class Tap:
    """Passes on what cables carry, and keeps each frame in `frames`: this costs nothing in a guest."""

    def __init__(self) -> None:
        self.frames: list[CableFrame] = []
        self._passed_on: dict[int, tuple[socket, socket, str, str]] = {}
        self._ready = epoll()
        self._stopped, self._stop = os.pipe()
        self._ready.register(self._stopped, EPOLLIN)
        self._thread = threading.Thread(target=self._pass_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stop)
        self._thread.join()
        self._ready.close()
        os.close(self._stopped)
        for end, *_others in self._passed_on.values():
            end.close()

    def cable(self, host: str, dev: str) -> tuple[socket, socket]:
        """Return the ends of a cable of `host`, its own first; its link is called `dev` there."""
        (ours, of_lan), (near, of_host) = cable(), cable()
        for end, to in ((near, ours), (ours, near)):
            # A guest that has ended takes no frame.
            end.settimeout(_MOST_S)
            self._passed_on[end.fileno()] = end, to, host, dev
            self._ready.register(end, EPOLLIN)
        return of_host, of_lan

    def _pass_on(self) -> None:
        """Pass on frames until the end; what the other end does not take is lost, as on a cable."""
        while self._stopped not in (ready := [file for file, _ in self._ready.poll()]):
            for end, to, host, dev in map(self._passed_on.__getitem__, ready):
                with suppress(OSError):
                    data = end.recv(_LONGEST_FRAME)
                    self.frames.append(CableFrame(host, dev, Frame(time.time_ns() // 1000, data)))
                    to.send(data)
