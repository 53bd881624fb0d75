#!/usr/bin/env python3
"""Run a command on one of two machines that are a network apart, all on this one.

    slurm/distance.py --delay-us 50 --gbit 1 COMMAND ...

The machines, "near" and "far", are Linux namespaces with a host name and a network of their own. A line joins them:
this program, which hands on every packet after the time that its bytes take and a delay. COMMAND runs on the near one;
in it, $DISTANCE_FAR before another command runs that on the far one, and $DISTANCE_ADDRESSES are both addresses. Takes
root. Namespaces, devices and addresses go when this program ends.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress

ADDRESSES = dict(near="10.77.0.1", far="10.77.0.2")
MTU = 9000  # bytes of a packet: jumbo frames, as between machines of a cluster
MOST_WAITING = 1000  # packets on a line; the next ones wait with their sender
WAKE_SECONDS = 1e-4  # a sleep may end so much late: the rest of a delay is waited for awake
CLONE_NEWUTS, CLONE_NEWNET = 0x04000000, 0x40000000  # sched.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h


class Line:
    """One direction: packets that one end sends leave one after the other and arrive at the other end later."""

    def __init__(self, source: int, target: int, delay: float, byte_seconds: float) -> None:
        self.source, self.target, self.delay, self.byte_seconds = source, target, delay, byte_seconds
        self.free = 0.0  # when the last one has left
        self.waiting: deque[tuple[float, bytes]] = deque()

    def take(self) -> None:
        packet = os.read(self.source, 2 * MTU)
        self.free = max(self.free, time.monotonic()) + len(packet) * self.byte_seconds
        self.waiting.append((self.free + self.delay, packet))

    def deliver(self) -> None:
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            os.write(self.target, self.waiting.popleft()[1])


def enter_machine(name: str, other: str) -> tuple[int, str]:
    """Let this process be on a new machine: the line's end there, and the command by which others get there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWUTS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    socket.sethostname(name)
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    address = f"address add {ADDRESSES[name]} peer {ADDRESSES[other]} dev {name}"
    for words in (address, f"link set {name} mtu {MTU} up", "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    kept = {kind: os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts")}
    return end, " ".join(["nsenter", *(f"--{kind}=/proc/{os.getpid()}/fd/{fd}" for kind, fd in kept.items())])


def carry(lines: list[Line], ended: int) -> None:
    """Hand packets on until a process has ended."""
    while True:
        open_ends = [line.source for line in lines if len(line.waiting) < MOST_WAITING]
        due = min((line.waiting[0][0] for line in lines if line.waiting), default=None)
        timeout = None if due is None else max(due - time.monotonic() - WAKE_SECONDS, 0.0)
        ready, _, _ = select.select([*open_ends, ended], [], [], timeout)
        if ended in ready:
            return
        for line in lines:
            if line.source in ready:
                line.take()
            line.deliver()


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--delay-us", type=float, default=0.0, help="one way, beside what this program takes (default 0)")
    p.add_argument("--gbit", type=float, default=1.0, help="Gbit/s each way (default 1)")
    p.add_argument("command", nargs=argparse.REMAINDER)
    args = p.parse_args()
    if not args.command:
        p.error("say a command")
    try:
        far, to_far = enter_machine("far", "near")
        near, _ = enter_machine("near", "far")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: no namespaces to be had: {error}", file=sys.stderr)
        return 2
    places = dict(DISTANCE_FAR=to_far, DISTANCE_ADDRESSES=" ".join(ADDRESSES.values()))
    command = subprocess.Popen(args.command, env={**os.environ, **places})
    with suppress(PermissionError):  # a packet does not wait for a processor
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    per_way = 1e-6 * args.delay_us, 8e-9 / args.gbit
    carry([Line(near, far, *per_way), Line(far, near, *per_way)], os.pidfd_open(command.pid))
    return command.wait()


if __name__ == "__main__":
    sys.exit(main())
