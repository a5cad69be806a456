"""Network namespaces of this machine, joined by a link with a latency and a limited rate.

    python scripts/network_link.py [--size 2] [--delays 0 0.2 1] [--rate 1]

prints the round trip of one byte of TCP between two of them, and the rate of a long transfer. The
kernel's ``netem`` delays packets where there is one. Elsewhere each namespace has a TUN device, and
a thread of this program takes the packets of all of them, holds each as long as it would be under
way, and gives it to the device of its address. Either needs the rights of root.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import os
import select
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

NAME = f"fta{os.getpid()}"
"""Of the bridge; the names of the namespaces begin with it."""
INTERFACE = "fta-link"
"""The interface of each namespace."""
SUBNET = "10.77.0"
MTU = 65_000
"""Large, as packets are that a network card cuts itself: a thread of Python forwards few."""
MAX_PACKET = 1 << 16
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
CLONE_NEWNET, PR_SET_TIMERSLACK = 0x40000000, 29
ROUND_TRIPS, TRANSFER = 30, 20_000_000


@dataclass(frozen=True)
class Link:
    """What each namespace sends through: a latency of so many ms one way, and a rate in Gbit/s."""

    delay: float
    rate: float

    def __str__(self) -> str:
        return f"{self.rate:g} Gbit/s, {self.delay:g} ms"


def address_of(rank: int) -> str:
    """Return the address of a namespace."""
    return f"{SUBNET}.{rank + 1}"


@cache
def has_netem() -> bool:
    """Return whether the kernel can delay packets itself."""
    if os.geteuid():
        raise SystemExit("network namespaces need the rights of root; run this with sudo")
    name = f"{NAME}-netem"
    _ip("netns", "add", name)
    try:
        command = ["ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "lo", "root", "netem"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    finally:
        _ip("netns", "del", name)


def means() -> str:
    """Return what delays the packets here."""
    return "netem" if has_netem() else "a forwarder between TUN devices"


@contextmanager
def namespaces(size: int, link: Link) -> Iterator[list[str]]:
    """Join namespaces by a link; yield their names, for ``ip netns exec``."""
    names = [f"{NAME}-{rank}" for rank in range(size)]
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
        stack.enter_context(_by_netem(names, link) if has_netem() else _by_tun(names, link))
        yield names


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _set_up(name: str, rank: int) -> None:
    """Give the interface of a namespace its address, and start it."""
    _ip("-n", name, "address", "add", f"{address_of(rank)}/24", "dev", INTERFACE)
    _ip("-n", name, "link", "set", INTERFACE, "up")
    _ip("-n", name, "link", "set", "lo", "up")


@contextmanager
def _by_netem(names: Sequence[str], link: Link) -> Iterator[None]:
    """Join namespaces by a bridge; netem delays what each sends."""
    with ExitStack() as stack:
        _ip("link", "add", NAME, "type", "bridge")
        stack.callback(_ip, "link", "del", NAME)
        _ip("link", "set", NAME, "up")
        for rank, name in enumerate(names):
            end = f"{NAME}-end{rank}"
            peer = ["peer", "name", INTERFACE, "netns", name]
            _ip("link", "add", end, "type", "veth", *peer)
            stack.callback(_ip, "link", "del", end)  # that of a namespace may take its time
            _ip("link", "set", end, "master", NAME, "up")
            _set_up(name, rank)
            shape = ["netem", "limit", "100000", "delay", f"{link.delay}ms"]
            shape += ["rate", f"{1000 * link.rate:g}mbit"]
            tc = ["tc", "qdisc", "add", "dev", INTERFACE, "root", *shape]
            _ip("netns", "exec", name, *tc)
        yield


@contextmanager
def _by_tun(names: Sequence[str], link: Link) -> Iterator[None]:
    """Join namespaces by TUN devices; a thread forwards what each sends."""
    with ExitStack() as stack:
        devices = []
        for rank, name in enumerate(names):
            devices.append(within(name, _open_tun))
            stack.callback(os.close, devices[-1])
            _ip("-n", name, "link", "set", INTERFACE, "mtu", str(MTU))
            _set_up(name, rank)
        stopped, stop = os.pipe()
        stack.callback(os.close, stopped)
        thread = threading.Thread(target=_forward, args=(devices, link, stopped))
        thread.start()
        stack.callback(thread.join)
        stack.callback(os.close, stop)
        yield


def within(name: str, work: Callable[[], Result]) -> Result:
    """Do some work in a thread that enters a namespace; its files and sockets remain usable."""
    libc = ctypes.CDLL(None, use_errno=True)

    def run() -> Result:
        with Path("/run/netns", name).open("rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"{name}: cannot be entered")
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def _open_tun() -> int:
    """Make a TUN device in the namespace of this thread; return its file descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", INTERFACE.encode(), IFF_TUN | IFF_NO_PI)
    fcntl.ioctl(device, TUNSETIFF, request)
    return device


def _forward(devices: Sequence[int], link: Link, stopped: int) -> None:
    """Give each packet of a device, delayed, to the device of its address, until a pipe ends."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # else each wait is 50 µs longer
    delay, byte_seconds = link.delay / 1000, 8 / (link.rate * 1e9)
    due: list[tuple[float, int, int, bytes]] = []  # when, the number of the packet, where, what
    sent_until, count = dict.fromkeys(devices, 0.0), 0
    while True:
        wait = max(due[0][0] - time.perf_counter(), 0.0) if due else None
        for device in select.select([*devices, stopped], [], [], wait)[0]:
            if device == stopped:
                return
            for packet in iter(partial(_packet, device), b""):
                if packet[0] >> 4 != 4 or not 1 <= packet[19] <= len(devices):
                    continue  # IPv6, or to all
                # A device sends one packet after the other; all of them are under way at once.
                start = max(time.perf_counter(), sent_until[device])
                sent_until[device] = start + len(packet) * byte_seconds
                arrives, count = sent_until[device] + delay, count + 1
                heapq.heappush(due, (arrives, count, devices[packet[19] - 1], packet))
        while due and due[0][0] <= time.perf_counter():
            *_, device, packet = heapq.heappop(due)
            os.write(device, packet)


def _packet(device: int) -> bytes:
    """Return the next packet that a device sends; nothing if there is none."""
    try:
        return os.read(device, MAX_PACKET)
    except BlockingIOError:
        return b""


# --- what such a link does


def round_trip(names: Sequence[str]) -> float:
    """Return the median time in ms in which a byte of TCP goes to the first namespace and back."""
    with _connection(names) as (near, far):
        seconds = []
        for _ in range(ROUND_TRIPS):
            start = time.perf_counter()
            for sender, receiver in ((near, far), (far, near)):
                sender.sendall(b"1")
                receiver.recv(1)
            seconds.append(time.perf_counter() - start)
        return 1000 * statistics.median(seconds)


def transfer_rate(names: Sequence[str]) -> float:
    """Return the Gbit/s of a long transfer to the first namespace."""
    with _connection(names) as (near, far):
        thread = threading.Thread(target=near.sendall, args=(bytes(TRANSFER),))
        start, received = time.perf_counter(), 0
        thread.start()
        while received < TRANSFER:
            received += len(far.recv(1 << 20))
        seconds = time.perf_counter() - start
        thread.join()
        return 8e-9 * TRANSFER / seconds


@contextmanager
def _connection(names: Sequence[str]) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the ends of a connection in the second namespace and in the first one."""
    with ExitStack() as stack:
        server = within(names[0], lambda: socket.create_server((address_of(0), 0)))
        stack.enter_context(server)
        near = within(names[1], lambda: socket.create_connection(server.getsockname()))
        far, _ = server.accept()
        for end in (near, far):
            stack.enter_context(end).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield near, far


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure links of several latencies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2, help="the number of namespaces")
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 0.2, 1], help="in ms")
    parser.add_argument("--rate", type=float, default=1, help="in Gbit/s")
    options = parser.parse_args(arguments)
    print(f"delayed by {means()}")
    for delay in options.delays:
        link = Link(delay, options.rate)
        with namespaces(options.size, link) as names:
            trip, rate = round_trip(names), transfer_rate(names)
        print(f"{link}: round trip {trip:.3f} ms, measured {rate:.3f} Gbit/s")


if __name__ == "__main__":
    main()
