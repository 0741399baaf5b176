"""The simulated card under Linux's own ixgbe: its clock (/dev/ptp*) and its time stamps, used by linuxptp's programs."""

import re

from harness.bench import capability
from harness.lab import check

# How far apart two clocks may be that follow each other, in nanoseconds: guests are emulated, and the far end's stamps are made in software. The card's clock begins decades off.
LOCKED_NS = 20_000_000
# By how much the card's clock is set faster and slower, in parts per billion: the X550's driver takes 30,000,000.
FASTER_PPB = 20_000_000
SLAVE = "to SLAVE on MASTER_CLOCK_SELECTED"
# How many summaries, two a second, are waited for once it follows, and for how long.
SUMMARIES, LOCK_SECONDS = 14, 50
COUNTERS = ("tx_hwtstamp_timeouts", "tx_hwtstamp_skipped", "rx_hwtstamp_cleared")


def phc(b, commands, seconds=0):
    """Runs phc_ctl's commands on the card's clock and returns what it printed."""
    return b.near(f"phc_ctl $if -- {commands}", timeout=30 + seconds)


def offsets(text):
    """What `cmp` printed: how far the system's clock is ahead of the card's, in nanoseconds."""
    return [int(number) for number in re.findall(r"offset from CLOCK_REALTIME is (-?\d+)ns", text)]


def drift(b, ppb, seconds=4):
    """By how much the card's clock gains on the system's, in parts per billion, where it is set faster by `ppb`."""
    first, last = offsets(phc(b, f"freq {ppb} cmp wait {seconds} cmp", seconds))
    return (first - last) / seconds


@capability("ptp-clock", "x540", "x550")
def ptp_clock(b):
    """the card's clock runs, is set, is moved, and runs faster and slower as it is told"""
    text = b.near("ethtool -T $if")
    for words in ("hardware-transmit", "hardware-receive", "hardware-raw-clock", r"PTP Hardware Clock: \d"):
        check(re.search(words, text), f"`ethtool -T` lacks {words}: {text}")
    seen = [float(time) for time in re.findall(r"clock time is (\d+\.\d+)", phc(b, "freq 0 set 1000.0 get wait 2.0 get adj 50.0 get", 2))]
    check(1000 <= seen[0] < 1001, f"set to 1000 s, read as {seen[0]}")
    check(1.9 < seen[1] - seen[0] < 4, f"{seen[1] - seen[0]} s passed in 2 s")
    check(50 <= seen[2] - seen[1] < 51, f"moved by {seen[2] - seen[1]} s instead of 50 s")
    phc(b, "set")
    base = drift(b, 0)
    rates = {ppb: drift(b, ppb) - base for ppb in (FASTER_PPB, -FASTER_PPB)}
    phc(b, "freq 0")
    wrong = {ppb: rate for ppb, rate in rates.items() if abs(rate - ppb) > FASTER_PPB / 20}
    check(not wrong, f"told to gain, gains (ppb): {wrong}")
    return f"set, moved by 50 s; told to gain {FASTER_PPB / 1e6:.0f} and {-FASTER_PPB / 1e6:.0f} per mille, gains {' and '.join(f'{rate / 1e6:.2f}' for rate in rates.values())}"


@capability("ptp-phc2sys", "x540", "x550")
def ptp_phc2sys(b):
    """phc2sys locks the card's clock to the system's"""
    phc(b, "freq 0 set 5.0")
    text = b.near("timeout -s INT 12 phc2sys -s CLOCK_REALTIME -c $if -O 0 -R 4 -N 3 -m; true", timeout=60)
    found = [int(number) for number in re.findall(r"offset\s+(-?\d+) s2 freq", text)]
    check(len(found) >= 12, f"not locked: {text[-600:]}")
    offset = sorted(map(abs, found[-9:]))[4]
    check(offset < LOCKED_NS, f"the last offsets are {found[-9:]} ns")
    return f"locked: {len(found)} times, {offset} ns apart in the end"


def follow(b, transport):
    """Runs ptp4l by the card's stamps behind ptp4l at the far end of the wire, which has the system's clock and software's stamps. Returns what it printed from where it
    followed, and what the driver's counters of lost stamps grew by."""
    phc(b, "freq 0 set 5.0")
    before = b.statistics()
    common = f"{transport} -m --logAnnounceInterval -2 --logSyncInterval -2 --logMinDelayReqInterval -2 --tx_timestamp_timeout 500"
    b.far(f"ptp4l -S -i {b.far_name} {common} --priority1 10 >/run/ptp-far.out 2>&1 & echo $! >/run/ptp-far.pid")
    # It ends with enough summaries behind it, however long a busy machine takes for them.
    watched = f"""
        timeout -s INT {LOCK_SECONDS} ptp4l -H -i $if {common} -s --summary_interval -1 --step_threshold 0.01 >/run/ptp.out 2>&1 & pid=$!
        while kill -0 $pid 2>/dev/null && [ "$(sed -n '/{SLAVE}/,$p' /run/ptp.out | grep -c ' rms ')" -lt {SUMMARIES} ]; do sleep 0.5; done
        kill -INT $pid 2>/dev/null; wait $pid; cat /run/ptp.out"""
    try:
        text = b.near(watched, timeout=LOCK_SECONDS + 20)
    finally:
        b.guest.run("end $(cat /run/ptp-far.pid)", check=False)
    check(SLAVE in text, f"not locked: {text[-800:]}")
    grown = {name: b.grown(before).get(name, 0) for name in COUNTERS}
    # What came before belongs to the time when the card's clock was switched on.
    return text[text.index(SLAVE) :], grown


def judged(b, text, grown):
    """What is wrong with such a run, or None; and what was seen."""
    found = [[int(number) for number in line] for line in re.findall(r"rms\s+(\d+) max\s+(\d+) .* delay\s+(-?\d+)", text)]
    if len(found) < SUMMARIES // 2:
        return f"too few summaries: {text[-800:]}", None
    # The middle one of the last: where the machine is busy elsewhere for a moment, one summary shows it.
    last = [rms for rms, _, _ in found[-9:]]
    offset, delay = sorted(last)[len(last) // 2], found[-1][2]
    # 82599 and X540 keep one stamp: a message that comes before that of the last was fetched has none. Where the machine is busy elsewhere, several come at once.
    missing, most = text.count("without timestamp"), 0 if b.card.device == "1563" else 10
    seen = f"offset (rms) {offset} ns, the wire's delay {delay} ns, {missing} messages without a stamp"
    for wrong, why in [
        (offset >= LOCKED_NS, f"the last offsets (rms) are {last} ns"),
        (not 0 < delay < LOCKED_NS, f"the wire's delay is {delay} ns"),
        ("timed out while polling for tx timestamp" in text, f"ptp4l: {text[-600:]}"),
        (missing > most, f"{missing} messages came without a stamp: {text[-600:]}"),
        (any(grown.values()), f"stamps were lost: {grown}"),
    ]:
        if wrong:
            return why, seen
    return None, seen


def lock(b, transport):
    """The card's clock follows the far end's. A guest that stands still for a moment loses stamps, as any machine does: of three tries one must lose none."""
    tries = []
    while True:
        why, seen = judged(b, *follow(b, transport))
        if why is None:
            return "; again: ".join([*tries, seen])
        tries.append(why)
        check(len(tries) < 3, "; again: ".join(tries))


@capability("ptp-l2", "x550")
def ptp_l2(b):
    """ptp4l by hardware stamps of Ethernet's PTP frames: the card's clock follows the far end's"""
    return lock(b, "-2")


@capability("ptp-udp", "x540")
def ptp_udp(b):
    """the same by stamps of PTP over UDP"""
    return lock(b, "-4")


@capability("ptp-all", "x550")
def ptp_all(b):
    """stamps of every frame where the card can (X550); where it cannot the driver says so"""
    status, text = b.near("hwstamp_ctl -i $if -t 1 -r 1", check=False)
    if b.card.device != "1563":
        check(status != 0, f"a card without it took it: {text}")
        return "refused, as the card has none"
    check(status == 0, text)
    for size in (0, 56, 1472):
        b.ping(size)
    b.near("ip link set $if mtu 9000")
    try:
        b.wait_carrier(1)
        for size in (2000, 8972):
            b.ping(size)
        seen = b.stream("both", count=2_000_000, seed=21)
    finally:
        b.near("hwstamp_ctl -i $if -t 0 -r 0; ip link set $if mtu 1500")
        b.wait_carrier(1)
    return f"five sizes of pings; {seen}"
