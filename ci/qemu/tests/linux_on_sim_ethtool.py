"""The simulated card under Linux's own ixgbe: what `ethtool` asks of it, settings, restarts, and a hang."""

import pathlib
import re
import time

from harness.bench import CARDS, FAR, GROUP, MAC, NEAR, bench, capability
from harness.lab import check, test

from .linux_on_sim_rss import rss_tcp

FIDELITY = pathlib.Path(__file__).resolve().parents[3] / "sim" / "FIDELITY.md"
# A word that no section of the EEPROM holds, by its bytes.
OFFSET = 0x600


# What the driver waits for by the clock: 10 to 20 ms for each interrupt, 200 ms for 64 frames in its loopback. An emulated processor may miss that.
BY_THE_CLOCK = ("Interrupt test", "Loopback test")


def self_test(b, mode):
    """`ethtool -t`, which has to pass. Where only tests by the clock failed, it may try again."""
    for _ in range(4):
        status, text = b.near(f"ethtool -t $if {mode}", timeout=120, check=False)
        lines = re.findall(r"^(\S.*\))\s+(-?\d+)$", text, re.MULTILINE)
        failed = [name for name, result in lines if result != "0"]
        b.wait_carrier(1)
        if not failed or not all(name.startswith(BY_THE_CLOCK) for name in failed):
            break
    check(status == 0 and "PASS" in text and len(lines) == 5 and not failed, f"status {status}: {text} {b.complaints()[-3:]}")
    return " ".join(text.split())


@capability("self-test-online", "x540")
def self_test_online(b):
    """`ethtool -t online`: the link"""
    return self_test(b, "online")


@capability("self-test-offline", "x540", "x550")
def self_test_offline(b):
    """`ethtool -t offline`: registers, EEPROM, interrupts, loopback, link"""
    return self_test(b, "offline")


@capability("rings", "x540")
def rings(b):
    """`ethtool -g` and `-G`: other ring sizes, with traffic"""
    try:
        for size in (64, 4096):
            b.near(f"ethtool -G $if rx {size} tx {size}", timeout=60)
            b.wait_carrier(1)
            current = re.findall(r"^(?:RX|TX):\s+(\d+)$", b.near("ethtool -g $if"), re.MULTILINE)
            check(current[2:] == [str(size)] * 2, f"`ethtool -g` says {current}")
            seen = b.stream("both", count=1_000_000, seed=size)
    finally:
        b.near("ethtool -G $if rx 512 tx 512", timeout=60)
        b.wait_carrier(1)
    return f"64 and 4096 descriptors; {seen}"


@capability("channels", "x540")
def channels(b):
    """`ethtool -l` and `-L`: one queue, then two, with traffic: flows go where RSS says"""
    try:
        for count in (1, 2):
            b.near(f"ethtool -L $if combined {count}", timeout=60)
            b.wait_carrier(1)
            check(re.findall(r"^Combined:\s+(\d+)$", b.near("ethtool -l $if"), re.MULTILINE)[1] == str(count), "`ethtool -l` differs")
            b.stream("both", count=1_000_000, seed=count)
            seen = rss_tcp(b, count)
    finally:
        b.near("ethtool -L $if combined 2", timeout=60)
        b.wait_carrier(1)
    return f"1 and 2 queues; {seen}"


@capability("pause")
def pause(b):
    """`ethtool -a` and `-A`: flow control off and on"""
    try:
        for state in ("off", "on"):
            b.near(f"ethtool -A $if rx {state} tx {state}", check=False, timeout=60)
            b.wait_carrier(1)
            text = b.near("ethtool -a $if")
            check(len(re.findall(rf"^(?:RX|TX):\s+{state}$", text, re.MULTILINE)) == 2, f"{state}: {text}")
            b.ping(1000)
    finally:
        b.near("ethtool -A $if rx on tx on", check=False, timeout=60)
    return "off and on"


@capability("registers", "x540", "x550")
def registers(b):
    """`ethtool -d` dumps the registers: the link is up, and receive address 0 is the card's"""
    text = b.near("ethtool -d $if")
    check(re.search(r"Link Status:\s+up", text), text[:400])
    value = lambda name: int(re.search(rf"^0x\w+: {name} .*0x(\w+)$", text, re.MULTILINE)[1], 16)
    address = value("RAL00").to_bytes(4, "little") + (value("RAH00") & 0xFFFF).to_bytes(2, "little")
    check(address.hex(":") == MAC, f"receive address 0 is {address.hex(':')}")
    lengths = [value(name) for name in ("RDLEN00", "TDLEN00")]
    check(lengths == [512 * 16] * 2, f"the rings are {lengths} bytes long")
    return f"{len(text.splitlines())} lines; link up, RAL and RAH 0 hold the address, RDLEN and TDLEN 0 rings of 512"


@capability("eeprom", "x540", "x550")
def eeprom(b):
    """`ethtool -e`: the words add up to BABA, and hold the address"""
    data = bytes(int(byte, 16) for row in re.findall(r"^0x[0-9a-f]+:\s+(.*)$", b.near("ethtool -e $if"), re.MULTILINE) for byte in row.split())
    words = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
    # What counts is more from family to family; the X550 has sections whose length is not told.
    x550, later = b.card.device == "1563", b.card.device != "10fb"
    total = sum(words[:0x42] if x550 else words[:0x40])
    for at in range(0x02 if x550 else 0x03, 0x0F):
        pointer = words[at]
        if pointer in (0, 0xFFFF) or later and at in (0x04, 0x05):
            continue
        fixed = {0x06: 0x24, 0x07: 8, 0x08: 8}.get(at) if x550 else None
        total += sum(words[pointer : pointer + fixed] if fixed else words[pointer + 1 : pointer + 1 + words[pointer]])
    check(total & 0xFFFF == 0xBABA, f"the sum is {total & 0xFFFF:#06x}")
    check(bytes.fromhex(MAC.replace(":", "")) in data, "the address is not in it")
    return f"{len(data)} bytes, sum 0xBABA"


def _dump(b, offset=0, length=4096):
    """Bytes of the EEPROM, as `ethtool -e` shows them."""
    text = b.near(f"ethtool -e $if offset {offset} length {length}")
    return bytes(int(byte, 16) for row in re.findall(r"^0x[0-9a-f]+:\s+(.*)$", text, re.MULTILINE) for byte in row.split())


def _write(b, data, wrong=0):
    """`ethtool -E` at `OFFSET`: the exit status. The driver wants the vendor's and the device's number of whoever writes."""
    magic = int(b.card.device, 16) << 16 | 0x8086 ^ wrong
    octal = "".join(f"\\{byte:03o}" for byte in data)
    line = f"ethtool -E $if magic {magic:#x} offset {OFFSET} length {len(data)}"
    return b.near(f"printf '{octal}' | {line}", timeout=60, check=False)[0]


@capability("eeprom-write", "x540", "x550")
def eeprom_write(b):
    """`ethtool -E` writes a word of the EEPROM, which is still there after the driver was loaded again"""
    before = _dump(b)
    old = before[OFFSET : OFFSET + 2]
    check(_write(b, b"\x34\x12", wrong=1) != 0 and _dump(b) == before, "written in spite of a wrong magic number")
    try:
        check(_write(b, b"\x34\x12") == 0, "`ethtool -E` fails")
        wanted = before[:OFFSET] + b"\x34\x12" + before[OFFSET + 2 :]
        check(_dump(b) == wanted, f"the EEPROM shows {_dump(b, OFFSET, 2).hex()} there, or has changed elsewhere")
        b.reload()
        check(_dump(b) == wanted, f"after a reset the EEPROM shows {_dump(b, OFFSET, 2).hex()} there")
    finally:
        _write(b, old)
    check(_dump(b) == before, "the old content did not come back")
    check(not b.complaints(), f"{b.complaints()[:4]}")
    return f"{old.hex()} became 3412 at {OFFSET:#x}, stayed over rmmod and modprobe, and was written back"


@capability("temperature")
def temperature(b):
    """hwmon shows the board's two thermal sensors, with the limits of the EEPROM"""
    line = "cd /sys/class/net/$if/device/hwmon/hwmon* && for n in 1 2; do echo $(cat temp${n}_label temp${n}_input temp${n}_max temp${n}_crit); done"
    seen = b.near(line).split("\n")[:2]
    wanted = ["loc1 47000 100000 95000", "loc3 52000 85000 80000"]
    check(seen == wanted, f"hwmon shows {seen}, not {wanted}")
    return "; ".join(seen)


@capability("module")
def module(b):
    """`ethtool -m` reads the SFP+ module through I2CCTL"""
    text = b.near("ethtool -m $if", timeout=120)
    for words in ("10G Ethernet: 10G Base-SR", "Vendor name", "Barewire", "SIM-10G-SR", "850nm", "Module temperature"):
        check(words in text, f"`ethtool -m` lacks {words}: {text[:800]}")
    return "10GBASE-SR, Barewire SIM-10G-SR, diagnostics"


@capability("identify", "x540")
def identify(b):
    """`ethtool -p` blinks: LEDCTL changes while it runs, and is as before afterwards"""
    ledctl = "ethtool -d $if raw on | dd bs=4 skip=5 count=1 2>/dev/null | hexdump -v -e '1/4 \"%08x\\n\"'"
    before = b.near(ledctl).strip()
    seen = set(b.near(f"ethtool -p $if 2 & while kill -0 $! 2>/dev/null; do {ledctl}; usleep 100000; done").split())
    after = b.near(ledctl).strip()
    check(len(seen | {before}) > 1 and after == before, f"LEDCTL was {before}, {seen} meanwhile, {after} afterwards")
    return f"LEDCTL was {before}, and {' and '.join(sorted(seen))} meanwhile"


@capability("address", "x540")
def address(b):
    """another MAC address is taken over by the filter"""
    try:
        b.near("ip link set $if address 02:00:00:00:55:66")
        b.far(f"ip neigh flush dev {b.far_name}", check=False)
        b.far(f"arping -c 2 -I {b.far_name} {NEAR}")
        b.ping(100)
    finally:
        b.near(f"ip link set $if address {MAC}")
    b.far(f"arping -c 2 -I {b.far_name} {NEAR}")
    b.ping(100)
    return "02:00:00:00:55:66 and back"


@capability("down-up", "x540")
def down_up(b):
    """the interface goes down and up ten times"""
    for _ in range(10):
        b.near("ip link set $if down", timeout=60)
        b.up()
    b.ping(1000)
    return "ten times"


@capability("restart", "x540")
def restart(b):
    """`ethtool -r` restarts the link"""
    b.near("ethtool -r $if", timeout=60)
    b.wait_carrier(1)
    b.ping(1000)
    return "the link came back"


# Link modes of `ethtool -s advertise`, by what they say in Mbit/s.
ADVERTISE = {100: 1 << 3, 1000: 1 << 5, 2500: 1 << 47, 5000: 1 << 48, 10000: 1 << 12}


def speeds(lab, card, wanted):
    """Each speed by itself, then all: the PHY and its partner agree on what `ethtool` then shows."""
    b = bench(lab, card)
    choices = [(speed, ADVERTISE[speed]) for speed in wanted] + [(max(wanted), sum(ADVERTISE[speed] for speed in wanted))]
    for speed, mask in choices:
        b.near(f"ethtool -s $if advertise {mask:#x}", timeout=60)
        deadline = time.monotonic() + 20
        while f"Speed: {speed}Mb/s" not in (text := b.near("ethtool $if")) or "Link detected: yes" not in text:
            check(time.monotonic() < deadline, f"no link at {speed} Mb/s: {text}")
            time.sleep(0.2)
        b.ping(1000)
    check(not b.complaints(), f"{b.complaints()[:4]}")
    return f"{', '.join(map(str, wanted))} Mb/s, each by itself and then the fastest of all, with pings"


@test(f"{GROUP}/speeds-x540", needs=["barewire"])
def speeds_x540(lab):
    """x540: `ethtool -s advertise` chooses among three speeds"""
    return speeds(lab, "x540", (100, 1000, 10000))


@test(f"{GROUP}/speeds-x550", needs=["barewire"])
def speeds_x550(lab):
    """x550: `ethtool -s advertise` chooses among five speeds"""
    return speeds(lab, "x550", (100, 1000, 2500, 5000, 10000))


@capability("clean-log", "x540", "x550")
def clean_log(b):
    """after all this the kernel's log still holds no complaint of the driver"""
    check(not b.complaints(), f"{b.complaints()[:8]}")
    return f"{len(b.log().splitlines())} lines"


@capability("reload", "x540", "x550")
def reload(b):
    """rmmod and modprobe, ten times (three times for the X540 and the X550)"""
    count = 10 if b.card is CARDS["82599"] else 3
    for number in range(count):
        b.guest.run("rmmod ixgbe && modprobe ixgbe", timeout=60)
        b.name = b.find()
        if number % 3 == 0:
            b.up()
            b.ping(1000)
    b.up()
    b.ping(1000)
    check(not b.complaints(), f"{b.complaints()[:8]}")
    return f"{count} times, traffic after each third and the last"


@capability("violations", "x540", "x550")
def violations(b):
    """what the card recorded as forbidden is what sim/FIDELITY.md lists of Linux, and nothing else"""
    listed = set(re.findall(r"^- \*(.+?)\*", FIDELITY.read_text().split("## What Linux does that the datasheet forbids")[1].split("\n## ")[0], re.MULTILINE))
    # The acts that are listed, should this be the only test.
    b.near("ethtool -A $if rx off tx off; ethtool -A $if rx on tx on", check=False, timeout=60)
    self_test(b, "offline")
    seen = b.guest.ports["near"].violation_kinds()
    check(seen == listed, f"not listed: {sorted(seen - listed)}; listed and not seen: {sorted(listed - seen)}")
    return f"{len(seen)} kinds, as listed"


@test(f"{GROUP}/intx", needs=["barewire"])
def intx(lab):
    """without message-signalled interrupts: the line alone, with traffic, and the interrupt self-test, which Linux leaves out with MSI-X"""
    b = bench(lab, guest="sim-intx")
    lines = [line for line in b.guest.run("cat /proc/interrupts").splitlines() if line.endswith(b.name)]
    check(len(lines) == 1 and "IO-APIC" in lines[0], f"not one level-triggered line: {lines}")
    b.ping(1000)
    b.stream("both", count=2_000_000)
    # What it says of the interrupt test is of its message level "hw".
    b.near("ethtool -s $if msglvl hw on")
    self_test(b, "offline")
    check("testing shared interrupt" in b.log() or "testing unshared interrupt" in b.log(), "the interrupt test did not run")
    b.ping(100)
    b.expected += ["Failed to allocate MSI", "Disabling SR-IOV support", "Disabling RSS support"]
    check(not b.complaints(), f"{b.complaints()[:8]}")
    return f"{' '.join(lines[0].split()[3:])}: 2,000,000 bytes each way, self-test passed"


@test(f"{GROUP}/private-memory", needs=["barewire"])
def private_memory(lab):
    """a guest whose memory the card's process does not share: every descriptor and every byte asked of QEMU, while processors wait for registers"""
    b = bench(lab, guest="sim-private")
    for size in (0, 56, 1472):
        b.ping(size)
    seen = b.stream("both", count=300_000, seed=13)
    # `ethtool` reads registers by the hundred while frames are under way.
    reads = "for i in 1 2 3 4 5; do ethtool -d $if >/dev/null; ethtool -S $if >/dev/null; done"
    b.near(f"({reads}) & flood 100 -s 1000 {FAR} && wait", timeout=90)
    self_test(b, "offline")
    b.ping(100)
    check(not b.complaints(), f"{b.complaints()[:8]}")
    log = b.guest.ports["near"].log.read_text()
    check("does not answer" not in log and "did not answer" not in log, f"the card: {log[-400:]}")
    return f"{seen}; self-test passed"


@test(f"{GROUP}/hang", needs=["barewire"])
def hang(lab):
    """a transmitter that hangs on request: Linux sees it, resets the card, and traffic flows again"""
    b = bench(lab, guest="sim-hang")
    hung = re.compile(r"Detected Tx Unit Hang|initiating reset due to tx timeout|NETDEV WATCHDOG")
    check(not hung.search(b.log()), f"Linux saw a hang too early: {b.log()[-400:]}")
    b.near(f"ping -q -i 0.02 -c 300 -W 1 {FAR}", timeout=60, check=False)
    deadline = time.monotonic() + 40
    while not ((found := hung.search(b.log())) and "Reset adapter" in b.log()):
        check(time.monotonic() < deadline, f"Linux sees no hang, or does not reset: {b.log()[-400:]}")
        b.near(f"ping -q -i 0.2 -c 5 -W 1 {FAR}", check=False)
    while "NIC Link is Up" not in b.log().rsplit("Reset adapter", 1)[1]:
        check(time.monotonic() < deadline + 30, f"the link does not come back: {b.log()[-400:]}")
        time.sleep(0.2)
    b.ping(1000)
    return f"Linux: {found[0]}, Reset adapter; then 10 pings answered"
