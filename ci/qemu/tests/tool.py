"""The `barewire` tool on the guest's real sysfs, before and after."""

import json

from harness import commands
from harness.lab import check, test

# Each round mends what the round before made visible.
DOCTOR_ROUNDS = 4


def _listed(guest, address):
    """What `list --json` says of the function, and its line of `list`."""
    listed = json.loads(guest.run(commands.tool("list --json")))
    entries = [entry for entry in listed if address in entry.values()]
    check(len(entries) == 1, f"`list --json` has {len(entries)} entries for {address}: {listed}")
    lines = [line for line in guest.run(commands.tool("list")).splitlines() if address in line]
    check(len(lines) == 1, f"`list` has {len(lines)} lines for {address}: {lines}")
    return entries[0], lines[0]


def _red(guest, address, *further):
    """The checks of `doctor --json` that are red, or of a `further` verdict. The exit status must agree with the red ones, and the text with all."""
    status, output = guest.run(commands.tool(f"doctor {address} --json"), check=False)
    checks = json.loads(output)
    red = [entry for entry in checks if entry["verdict"] == "red"]
    check(status == int(bool(red)), f"`doctor` has {len(red)} red checks and exit status {status}")
    text = guest.run(commands.tool(f"doctor {address}"), check=False)[1]
    wanted = [entry for entry in checks if entry["verdict"] in ("red", *further)]
    for entry in wanted:
        check(entry["remedy"] in text, f"`doctor` shows `{entry['remedy']}` with --json only: {text}")
    return wanted


@test("tool", needs=["barewire"])
def tool(lab):
    """`barewire list`, `bind`, `info`, `stats`, `selftest`, `unbind` on a real card; the card that carries the default route is refused"""
    guest = lab.guest("group")
    address, kernel = guest.ports["n0"].address, guest.ports["kernel"].address
    guest.run(f"to_kernel {address}")
    group = guest.run(f"group_of {address}").strip()

    entry, line = _listed(guest, address)
    check("virtio-pci" in entry.values() and "virtio-pci" in line, f"`list` does not name virtio-pci: {line}; {entry}")
    check(group in map(str, entry.values()), f"`list --json` does not show group {group}: {entry}")
    guest.run(commands.tool(f"bind {address}"))
    check(guest.run(f"driver_of {address}").strip() == "vfio-pci", "`bind` did not bind to vfio-pci")
    entry, line = _listed(guest, address)
    check("vfio-pci" in entry.values() and "vfio-pci" in line, f"`list` does not name vfio-pci: {line}; {entry}")
    info = json.loads(guest.run(commands.tool(f"info {address} --json 2>/dev/null")))
    told = (info["driver"], info["mac"], info["link"]["up"])
    check(told == ("virtio-net", guest.ports["n0"].mac, True), f"`info` tells {info}")
    counters = json.loads(guest.run(commands.tool(f"stats {address} --seconds 0.5 --json 2>/dev/null")))["stats"]
    check(counters["rx_errors"] == 0 and counters["carrier_changes"] <= 1, f"`stats` counts {counters}")
    found = json.loads(guest.run(commands.tool(f"selftest {address} --json 2>/dev/null")))
    parts = {part["part"]: part["outcome"] for part in found["parts"]}
    wanted = {"registers": "passed", "eeprom": "absent", "interrupts": "passed", "loopback": "absent", "link": "passed"}
    check(parts == wanted, f"`selftest` finds {found}")
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
    check(guest.run(f"driver_of {kernel}").strip() == "vfio-pci", "`bind --force` did not bind to vfio-pci")
    guest.run(commands.tool(f"unbind {kernel}"))
    return f"{address}: virtio-pci, vfio-pci, virtio-pci; {kernel} refused, since {name} carries the default route"


@test("doctor", needs=["barewire"])
def doctor(lab):
    """from a missing module, no huge pages and a card in the kernel's hands to green, by the doctor's own words alone"""
    guest = lab.guest("group")
    address = guest.ports["n0"].address
    for port in guest.ports.values():
        guest.run(f"to_kernel {port.address}")
    guest.run("modprobe -r vfio-pci; echo 0 >/proc/sys/vm/nr_hugepages; ! test -e /sys/bus/pci/drivers/vfio-pci")
    done = []
    for _ in range(DOCTOR_ROUNDS):
        amiss = _red(guest, address, "warning")
        if not amiss:
            break
        for entry in amiss:
            status, output = guest.run(entry["remedy"], check=False)
            check(status == 0, f"the remedy `{entry['remedy']}` for '{entry['cause']}' fails: {output}")
            done.append(entry["remedy"])
    check(not amiss, f"still red after {DOCTOR_ROUNDS} rounds: {amiss}")
    check(len(done) >= 3, f"three things were wrong, and the doctor mended {done}")
    check(guest.run(f"driver_of {address}").strip() == "vfio-pci", "all is green, but the card is not bound to vfio-pci")
    guest.run("echo 0 >/proc/sys/vm/nr_hugepages")
    return f"green after: {'; '.join(done)}"


@test("doctor-no-iommu", needs=["barewire"])
def doctor_no_iommu(lab):
    """a machine without an IOMMU: red, and the remedy speaks of the firmware"""
    guest = lab.guest("noiommu")
    red = _red(guest, guest.ports["n0"].address)
    seen = [entry for entry in red if "IOMMU" in entry["cause"]]
    check(seen, f"no red check speaks of the IOMMU: {red}")
    check("firmware" in seen[0]["remedy"], f"the remedy does not speak of the firmware: {seen[0]}")
    return f"'{seen[0]['cause']}'"
