"""The `barewire` tool on the guest's real sysfs, before and after."""

import json

from harness import commands
from harness.lab import check, test


def _listed(guest, address):
    """What `list --json` says of the function, as text, and the line of `list`."""
    listed = json.loads(guest.run(commands.tool("list --json")))
    entries = [entry for entry in listed if address in entry.values()]
    check(len(entries) == 1, f"`list --json` has {len(entries)} entries for {address}: {listed}")
    lines = [line for line in guest.run(commands.tool("list")).splitlines() if address in line]
    check(len(lines) == 1, f"`list` has {len(lines)} lines for {address}: {lines}")
    return entries[0], lines[0]


@test("tool", needs=["barewire"])
def tool(lab):
    """`barewire list`, `doctor`, `bind` and `unbind` on real sysfs; refuses the card that carries the default route"""
    guest = lab.guest("group")
    address, kernel = guest.ports["n0"].address, guest.ports["kernel"].address
    guest.run(f"[ \"$(driver_of {address})\" = virtio-pci ] || bind_driver {address} virtio-pci")
    guest.run(f"echo >/sys/bus/pci/devices/{address}/driver_override")
    group = guest.run(f"group_of {address}").strip()

    entry, line = _listed(guest, address)
    check("virtio-pci" in entry.values() and "virtio-pci" in line, f"`list` does not name virtio-pci: {line}; {entry}")
    check(group in map(str, entry.values()) or group in line.split(), f"`list` does not show group {group}: {line}")
    status, output = guest.run(commands.tool(f"doctor {address}"), check=False)
    remedy = f"barewire bind {address}"
    check(status == 1 and remedy in output, f"`doctor` of a card with its kernel driver: status {status}: {output}")

    guest.run(next(text for text in [remedy] if text in output))
    check(guest.run(f"driver_of {address}").strip() == "vfio-pci", "`bind` did not bind to vfio-pci")
    entry, line = _listed(guest, address)
    check("vfio-pci" in entry.values() and "vfio-pci" in line, f"`list` does not name vfio-pci: {line}; {entry}")
    status, output = guest.run(commands.tool(f"doctor {address}"), check=False)
    check(status == 0, f"`doctor` of a bound card: status {status}: {output}")

    guest.run(commands.tool(f"unbind {address}"))
    check(guest.run(f"driver_of {address}").strip() == "virtio-pci", "`unbind` did not restore virtio-pci")
    override = guest.run(f"cat /sys/bus/pci/devices/{address}/driver_override").strip()
    check(override in ("", "(null)"), f"`unbind` left driver_override {override}")
    check(guest.run(f"interface_of {address}").strip(), "the card has no interface again")

    name = guest.run(f"interface_of {kernel}").strip()
    guest.run(f"ip addr add 10.8.0.2/24 dev {name}; ip link set {name} up; ip route add default via 10.8.0.1")
    status, output = guest.run(commands.tool(f"bind {kernel}"), check=False)
    driver = guest.run(f"driver_of {kernel}").strip()
    check(status and driver == "virtio-pci", f"`bind` took the card with the default route (status {status}): {output}")
    check("--force" in output and name in output, f"the refusal names neither {name} nor --force: {output}")
    guest.run(commands.tool(f"bind {kernel} --force"))
    guest.run(commands.tool(f"unbind {kernel}"))
    return f"{address} virtio-pci, vfio-pci, virtio-pci; doctor red with `{remedy}`, then green; refused {name}: default route"
