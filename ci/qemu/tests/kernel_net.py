"""The ground under the other tests: the kernel's own driver on the same cards, wires and monitor."""

import time

from harness.lab import check, test
from harness.peer import Exchange


@test("kernel-net")
def kernel_net(lab):
    """Linux's own virtio_net answers 20,000 ARP, ICMP and UDP frames of 60 to 1514 bytes, and sees its link go and come"""
    guest = lab.guest("group")
    port = guest.ports["n0"]
    peer = lab.peer(guest, "n0")
    guest.run(f"to_kernel {port.address}")
    name = guest.run(f"interface_of {port.address}").strip()
    check(name, f"no interface of the kernel's driver on {port.address}")
    guest.run(f"ip addr flush dev {name}; ip addr add 10.9.0.2/24 dev {name}; ip link set {name} up")
    try:
        server = guest.start("server", "udp-echo serve 10.9.0.2:7")
        responder = lab.responder(guest, "n0")
        peer.wait_ready(responder)
        report = Exchange(peer, responder, ("arp", "icmp", "udp", "icmp", "udp")).run(20000)
        server.stop()
        for up in (False, True):
            guest.qmp.execute("set_link", name="n0", up=up)
            deadline = time.monotonic() + 5
            while (carrier := guest.run(f"cat /sys/class/net/{name}/carrier").strip()) != str(int(up)):
                check(time.monotonic() < deadline, f"set_link up={up} was not seen: the carrier is {carrier}")
    finally:
        guest.run(f"ip link set {name} down; ip addr flush dev {name}")
    return f"{report}; carrier 0, then 1"
