"""The kernel of this host at the other end of a card's wire: a tap device in a network namespace of its own, which nothing but this process sees.

QEMU gets the tap with virtio headers, as by default, so that the card offers checksum offload, and the kernel leaves the checksums of its UDP and TCP
to the card. It needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x0100, 0x1000, 0x4000
_LIBC = ctypes.CDLL(None, use_errno=True)


class KernelStack:
    """The tap, a descriptor in `fds` for each of its queues, and the kernel's sockets behind it. The namespace ends with the last of them."""

    def __init__(self, address="10.9.0.1", prefix=24, queues=1):
        self.address = address
        self.fds = []
        self._queues = queues
        self._namespace = None
        self._error = None
        # A namespace belongs to a thread; sockets that it makes stay in there, whoever uses them.
        self._within(lambda: self._open(f"{address}/{prefix}"))

    def _open(self, network):
        if _LIBC.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "a network namespace for the tap cannot be made: run as root")
        self._namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        # No router solicitations between the frames that are compared.
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w", encoding="ascii") as file:
            file.write("1")
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if self._queues > 1 else 0)
        for _ in range(self._queues):
            self.fds.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            fcntl.ioctl(self.fds[-1], TUNSETIFF, struct.pack("16sH22x", b"tap0", flags))
        for words in (f"address add {network} dev tap0", "link set tap0 up"):
            subprocess.run(["ip", *words.split()], check=True, stdout=subprocess.DEVNULL)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def socket(self, kind):
        """A further socket in the namespace, of IPv4."""
        made = []

        def make():
            if _LIBC.setns(self._namespace, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "the tap's network namespace cannot be entered")
            made.append(socket.socket(socket.AF_INET, kind))

        self._within(make)
        return made[0]

    def _within(self, work):
        def run():
            try:
                work()
            except OSError as error:
                self._error = error

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if self._error:
            self.close()
            raise self._error

    def close(self):
        """Closes the tap and the sockets."""
        for held in (getattr(self, "udp", None), getattr(self, "tcp", None)):
            if held:
                held.close()
        for number in [*self.fds, self._namespace]:
            if number is not None:
                os.close(number)
        self.fds, self._namespace = [], None
