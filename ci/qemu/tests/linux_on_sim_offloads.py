"""The simulated card under Linux's own ixgbe: checksums, segmentation, coalescing, VLAN tags, long frames."""

from harness.bench import FAR, FAR6, capability
from harness.lab import check


@capability("tcp-out", "x540", "x550")
def tcp_out(b):
    """TCP from the card with segmentation and checksum offload"""
    used = {}
    for state in ("off", "on"):
        has = b.offloads(f"tso {state} gso {state} tx on sg on")
        check(has["tcp-segmentation-offload"] == state, f"TSO is not {state}: {has}")
        b.ping(100)
        before, tails = b.statistics(), b.tails()
        b.stream("out", count=100_000)
        used[state] = (b.used(tails), b.grown(before)["tx_packets"])
    (plain, frames_plain), (cut, frames_cut) = used["off"], used["on"]
    # Without segmentation a frame is three descriptors: a context, the headers, and data.
    check(plain >= frames_plain and cut < plain * 2 // 3, f"descriptors and frames: without TSO {used['off']}, with {used['on']}")
    return f"{b.stream('out')}; {frames_cut} frames from {cut} descriptors, {frames_plain} from {plain} without TSO"


@capability("uso", "x540", "x550")
def uso(b):
    """datagrams that the card cuts out of one send, over IPv4 and IPv6, every one compared"""
    used = {}
    try:
        for state in ("off", "on"):
            has = b.offloads(f"tx-udp-segmentation {state}")
            check(has["tx-udp-segmentation"] == state, f"tx-udp-segmentation is not {state}: {has}")
            before, tails = b.statistics(), b.tails()
            seen = [b.segments(address, 5, size) for address, size in ((FAR, 1000), (FAR6, 777))]
            used[state] = (b.used(tails), b.grown(before)["tx_packets"])
    finally:
        b.offloads("tx-udp-segmentation on")
    (plain, frames_plain), (cut, frames_cut) = used["off"], used["on"]
    check(frames_cut >= 110 and cut < plain * 2 // 3, f"descriptors and frames: without {used['off']}, with {used['on']}")
    return f"{seen[0]}; {frames_cut} frames from {cut} descriptors, {frames_plain} from {plain} without"


@capability("tcp-in", "x540")
def tcp_in(b):
    """TCP to the card, with checksums checked by it"""
    before = b.statistics()
    seen = b.stream("in", count=6_000_000)
    errors = {k: v for k, v in b.grown(before).items() if ("error" in k or "csum" in k) and "missed" not in k}
    check(not errors, f"errors were counted: {errors}")
    return seen


@capability("tcp-both", "x540", "x550")
def tcp_both(b):
    """TCP both ways at once"""
    return b.stream("both", count=5_000_000, seed=3)


@capability("tcp-ipv6", "x540")
def tcp_ipv6(b):
    """TCP over IPv6 with segmentation"""
    b.ping(100, FAR6, options="-6")
    before, tails = b.statistics(), b.tails()
    b.stream("out", count=100_000, address=FAR6)
    used, frames = b.used(tails), b.grown(before)["tx_packets"]
    check(used < 2 * frames, f"nothing was segmented: {frames} frames from {used} descriptors")
    return f"{b.stream('both', count=5_000_000, address=FAR6, seed=4)}; {frames} frames from {used} descriptors"


@capability("sctp", "x540", "x550")
def sctp(b):
    """SCTP over IPv4 and IPv6 with CRCs by Linux and by the card, which the far end checks, and checked by the card where it receives"""
    errors = "grep SctpChecksumErrors /proc/net/sctp/snmp"
    b.guest.run("modprobe crc32c_generic; modprobe sctp", timeout=60)
    # SCTP's ends agree on no segment size.
    b.far(f"ip link set {b.far_name} mtu 1500")
    used = {}
    try:
        for state in ("off", "on"):
            has = b.offloads(f"tx-checksum-sctp {state}")
            check(has["tx-checksum-sctp"] == state, f"tx-checksum-sctp is not {state}: {has}")
            b.ping(100)
            before, tails = b.statistics(), b.tails()
            b.stream("out", count=60_000, protocol="sctp")
            used[state] = (b.used(tails), b.grown(before)["tx_packets"])
        seen = [b.stream("both", count=2_000_000, address=address, seed=10, protocol="sctp") for address in (FAR, FAR6)]
    finally:
        b.offloads("tx-checksum-sctp on")
        b.far(f"ip link set {b.far_name} mtu 9000")
    wrong = [int(side(errors).split()[-1]) for side in (b.near, b.far)]
    check(wrong == [0, 0], f"CRCs that the kernel found wrong, near and far: {wrong}")
    grown = {k: v for k, v in b.grown(before).items() if "csum" in k and v}
    check(not grown, f"the card found wrong CRCs: {grown}")
    (plain, frames_plain), (asked, frames_asked) = used["off"], used["on"]
    # A context descriptor more for each frame that asks.
    check(asked - frames_asked > plain - frames_plain + frames_asked // 2, f"descriptors and frames: CRCs by Linux {used['off']}, by the card {used['on']}")
    return f"{seen[0]}; {frames_asked} frames from {asked} descriptors, {frames_plain} from {plain} with CRCs by Linux"


@capability("offloads-off", "x540")
def offloads_off(b):
    """the same with checksums and segmentation in software"""
    try:
        has = b.offloads("tso off gso off tx off rx off gro off")
        check(has["tcp-segmentation-offload"] == has["rx-checksumming"] == has["tx-checksum-ip-generic"] == "off", f"offloads stayed on: {has}")
        return b.stream("both", count=3_000_000, seed=5)
    finally:
        b.offloads("tx on rx on tso on gso on gro on")
        b.wait_carrier(1)


@capability("lro", "x540")
def lro(b):
    """large receive offload off and on, with TCP over IPv4 and IPv6: the card merges segments when it is on, and only then"""
    merged = {}
    try:
        # With a header of its own for each packet the driver computes the segments' size from the card's count of them, and the kernel's TCP
        # complains of a size that no segment can have.
        b.near("ethtool --set-priv-flags $if legacy-rx on")
        for state in ("off", "on"):
            check(b.offloads(f"lro {state}")["large-receive-offload"] == state, f"LRO is not {state}")
            b.wait_carrier(1)
            before = b.statistics()
            seen = b.stream("in", count=4_000_000, seed=6)
            b.stream("in", count=1_000_000, address=FAR6, seed=7)
            grown = b.grown(before)
            merged[state] = [grown.get(f"hw_rsc_{what}", 0) for what in ("aggregated", "flushed")]
            errors = {k: v for k, v in grown.items() if ("error" in k or "csum" in k) and "missed" not in k}
            check(not errors, f"errors were counted: {errors}")
        check("suspect GRO" not in b.guest.kernel_log(), "the card's count of segments is wrong")
        # The driver's usual way, with headers and data in one buffer: of segments that fill no second one it computes no size, and TCP complains.
        b.expected.append("suspect GRO")
        b.near("ethtool --set-priv-flags $if legacy-rx off")
        b.wait_carrier(1)
        b.stream("in", count=2_000_000, seed=9)
    finally:
        b.near("ethtool --set-priv-flags $if legacy-rx off")
        b.offloads("lro off")
        b.wait_carrier(1)
    segments, receives = merged["on"]
    check(merged["off"] == [0, 0] and segments > 2 * receives > 0, f"segments and large receives: {merged}")
    return f"{segments} segments in {receives} large receives; {seen}"


@capability("jumbo", "x540", "x550")
def jumbo(b):
    """MTU 9000: echo of 8972 bytes, and TCP both ways"""
    b.near("ip link set $if mtu 9000")
    try:
        b.wait_carrier(1)
        for size in (1473, 4000, 8972):
            b.ping(size, count=5)
        b.ping(8952, FAR6, count=5, options="-6")
        return b.stream("both", count=8_000_000, seed=7)
    finally:
        b.near("ip link set $if mtu 1500")
        b.wait_carrier(1)


@capability("vlan", "x540", "x550")
def vlan(b):
    """VLAN tags inserted and stripped by the card, with TCP and segmentation"""
    has = b.offloads("rxvlan on txvlan on")
    check(has["rx-vlan-offload"] == has["tx-vlan-offload"] == "on", f"{has}")

    def work():
        b.ping(1472, b.VLAN_FAR)
        return b.stream("both", count=3_000_000, address=b.VLAN_FAR, seed=8)

    return b.with_vlan(work)


@capability("vlan-software")
def vlan_software(b):
    """VLAN tags left to the kernel"""
    try:
        has = b.offloads("rxvlan off txvlan off")
        check(has["rx-vlan-offload"] == has["tx-vlan-offload"] == "off", f"{has}")
        b.wait_carrier(1)
        return b.with_vlan(lambda: b.ping(1472, b.VLAN_FAR) or "10 pings with tags in the frames")
    finally:
        b.offloads("rxvlan on txvlan on")
        b.wait_carrier(1)
