#!/usr/bin/env python3
"""Makes the captures of this folder, all of them by hand after the formats' drafts (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).

Run in this folder. Frames are of EtherType 0x88b5 (IEEE 802, local experiments), each with bytes of its own.
"""
import gzip
import struct

LITTLE, BIG = "<", ">"
US, NS, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
ETHERNET, RAW_IP, COOKED = 1, 101, 113
EPB, SPB, PB, IDB, ISB, NRB, DSB, JOURNAL, CUSTOM, CUSTOM_NO_COPY = 6, 3, 2, 1, 5, 4, 10, 9, 0xBAD, 0x40000BAD
END = b"\0\0\0\0"


def frame(length, number=0):
    head = bytes([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xB5])
    return (head + bytes((i * 7 + number) & 0xFF for i in range(length)))[:length]


def padded(data):
    return data + bytes(-len(data) % 4)


# pcap

def header(order=LITTLE, magic=US, link=ETHERNET, snaplen=65535, version=(2, 4), zone=0):
    return struct.pack(order + "IHHiIII", magic, *version, zone, 0, snaplen, link)


def record(data, original=None, order=LITTLE, time=(1_700_000_000, 5), extra=b""):
    length = len(data) if original is None else original
    return struct.pack(order + "IIII", *time, len(data), length) + extra + data


# pcapng

def block(kind, body, order=LITTLE):
    body = padded(body)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(code, value, order=LITTLE):
    return struct.pack(order + "HH", code, len(value)) + padded(value)


def section(order=LITTLE, version=(1, 0), length=-1, options=b""):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, length) + options, order)


def interface(order=LITTLE, link=ETHERNET, snaplen=0, options=b"", reserved=0):
    return block(IDB, struct.pack(order + "HHI", link, reserved, snaplen) + options, order)


def packet(data, number=0, original=None, options=b"", order=LITTLE, time=1_700_000_000_000_000, captured=None):
    length = len(data) if original is None else original
    captured = len(data) if captured is None else captured
    return block(EPB, struct.pack(order + "IIIII", number, time >> 32, time & 0xFFFFFFFF, captured, length) + padded(data) + options, order)


def old_packet(data, number=0, options=b"", order=LITTLE, time=1_700_000_000_000_000, original=None):
    length = len(data) if original is None else original
    return block(PB, struct.pack(order + "HHIIII", number, 3, time >> 32, time & 0xFFFFFFFF, len(data), length) + padded(data) + options, order)


def simple(data, original=None, order=LITTLE):
    return block(SPB, struct.pack(order + "I", len(data) if original is None else original) + data, order)


def files():
    two = [frame(60), frame(61, 1)]
    fcs = b"FCS!"
    plain = section() + interface()
    # Every magic, both orders.
    for order, name in ((LITTLE, "little"), (BIG, "big")):
        for magic, unit in ((US, "us"), (NS, "ns")):
            yield f"{name}-{unit}.pcap", header(order, magic) + b"".join(record(f, order=order) for f in two)
        yield f"{name}.pcapng", section(order) + interface(order) + b"".join(packet(f, order=order) for f in two)
        yield f"{name}-old-block.pcapng", section(order) + interface(order) + interface(order) + old_packet(two[0], 1, order=order)
        yield f"{name}-simple.pcapng", section(order) + interface(order) + simple(two[1], order=order)
        yield f"{name}-fcslen.pcapng", (section(order) + interface(order, options=option(13, b"\4", order) + END)
                                        + packet(two[0] + fcs, order=order))
        yield f"{name}-flags.pcapng", (section(order) + interface(order)
                                       + packet(two[0] + fcs, options=option(2, struct.pack(order + "I", 4 << 5), order) + END, order=order))
        yield f"{name}-no-end.pcapng", (section(order, options=option(4, b"tool", order)) + interface(order, options=option(2, b"eth0", order))
                                        + packet(two[0], options=option(1, b"seen", order), order=order))
    yield "modified.pcap", header(magic=MODIFIED) + b"".join(record(f, extra=struct.pack("<IHBB", 2, 8, 0, 0)) for f in two)
    # pcap's lengths, link types, snapshot lengths.
    yield "empty.pcap", header()
    yield "snaplen-0.pcap", header(snaplen=0) + record(two[0])
    yield "above-snaplen.pcap", header(snaplen=64) + record(frame(200))
    yield "cut.pcap", header(snaplen=64) + record(frame(64), 1514) + record(two[0])
    yield "cut-to-nothing.pcap", header() + record(b"", 60) + record(two[0])
    yield "fcs-in-header.pcap", header(link=0x24000001) + record(two[0] + fcs) + record(frame(62) + fcs[:2], 66)
    yield "fcs-not-valid.pcap", header(link=0x20000001) + record(frame(64))
    yield "short.pcap", header() + record(frame(13)) + record(frame(14)) + record(two[0])
    yield "jumbo.pcap", header() + record(frame(9018)) + record(two[0])
    yield "raw-ip.pcap", header(link=RAW_IP) + record(frame(60))
    yield "time-zone.pcap", header(zone=-3600) + record(two[0])
    yield "version-2-3.pcap", header(version=(2, 3)) + record(two[0])
    yield "year-2100.pcap", header(magic=NS) + record(two[0], time=(4_102_444_800, 999_999_999))
    yield "in-the-header.pcap", header()[:20]
    yield "in-a-record-header.pcap", header() + record(two[0]) + record(two[1])[:9]
    yield "in-a-record.pcap", header() + record(two[0]) + record(two[1])[:-1]
    yield "huge-record.pcap", header() + record(two[0]) + struct.pack("<IIII", 1, 0, 0x7FFFFFFF, 0x7FFFFFFF) + bytes(64)
    yield "zip.pcap.gz", gzip.compress(header() + record(two[0]), mtime=0)
    # pcapng's options.
    yield "time-zone.pcapng", section() + interface(options=option(10, struct.pack("<I", 60)) + END) + packet(two[0])
    yield "time-zone-odd.pcapng", section() + interface(options=option(10, b"\1") + END) + packet(two[0])
    yield "latin1.pcapng", (section(options=option(1, b"caf\xe9") + END) + interface(options=option(2, b"r\xe9seau") + option(3, b"\xff\xfe") + END)
                            + packet(two[0], options=option(1, b"\xc3\x28") + END))
    yield "empty-filter.pcapng", section() + interface(options=option(11, b"") + END) + packet(two[0])
    yield "bpf-filter.pcapng", section() + interface(options=option(11, b"\1" + bytes(8)) + END) + packet(two[0])
    yield "empty-name.pcapng", section() + interface(options=option(2, b"") + END) + packet(two[0])
    yield "odd-lengths.pcapng", (section() + interface(options=option(4, bytes(8)) + option(6, bytes(6)) + option(8, bytes(8)) + option(12, b"os!") + END)
                                 + packet(two[0], options=option(3, b"\2\1\2\3\4") + option(4, bytes(8)) + END))
    yield "unknown-options.pcapng", section() + interface(options=option(0x7ABC, b"12345") + END) + packet(two[0], options=option(0x7ABC, b"1") + END)
    yield "custom-options.pcapng", (section() + interface(options=option(2988, struct.pack("<I", 32473) + b"text") + END)
                                    + packet(two[0], options=option(2989, struct.pack("<I", 32473) + b"\xff") + option(19372, struct.pack("<I", 32473)) + END))
    yield "options-after-end.pcapng", section() + interface(options=END + option(13, b"\4")) + packet(frame(64))
    yield "many-comments.pcapng", plain + packet(two[0], options=b"".join(option(1, b"x" * 4096) for _ in range(4)) + END)
    yield "fcslen-bits.pcapng", section() + interface(options=option(13, b"\x20") + END) + packet(two[0] + fcs)
    yield "fcslen-0-flags.pcapng", (section() + interface(options=option(13, b"\0") + END)
                                    + packet(two[0] + fcs, options=option(2, struct.pack("<I", 4 << 5 | 1)) + END))
    yield "flags-over-fcslen.pcapng", (section() + interface(options=option(13, b"\4") + END)
                                       + packet(two[0] + fcs[:2], options=option(2, struct.pack("<I", 2 << 5)) + END) + packet(two[1] + fcs))
    yield "flags-direction.pcapng", section() + interface(options=option(13, b"\4") + END) + packet(two[0] + fcs, options=option(2, struct.pack("<I", 1)) + END)
    yield "fcs-cut.pcapng", section() + interface(options=option(13, b"\4") + END) + packet(two[0] + fcs[:2], original=64) + packet(frame(40), original=64)
    yield "old-block-flags.pcapng", plain + old_packet(two[0] + fcs, options=option(2, struct.pack("<I", 4 << 5)) + END)
    yield "old-block-cut.pcapng", plain + old_packet(two[0], original=1500) + packet(two[1])
    # Times.
    for resolution, units in ((0, 1), (3, 10**3), (9, 10**9), (0x80 | 20, 2**20), (12, 10**12)):
        yield f"tsresol-{resolution}.pcapng", (section() + interface(options=option(9, bytes([resolution])) + END)
                                               + packet(two[0], time=min(1_700_000_000 * units, 2**64 - 1)))
    yield "tsoffset.pcapng", section() + interface(options=option(14, struct.pack("<q", 1_600_000_000)) + END) + packet(two[0], time=5_000_000)
    # pcapng's blocks.
    yield "empty.pcapng", section()
    yield "no-packet.pcapng", plain
    yield "other-blocks.pcapng", (section() + block(NRB, struct.pack("<HH", 1, 7) + padded(b"\1\2\3\4hi\0") + END) + interface()
                                  + block(DSB, struct.pack("<II", 0x544C534B, 5) + b"KEYS\n") + packet(two[0])
                                  + block(ISB, struct.pack("<III", 0, 0, 5) + option(4, bytes(8)) + END) + block(JOURNAL, b"__REALTIME_TIMESTAMP=1\n\n")
                                  + block(CUSTOM, struct.pack("<I", 32473) + b"anything") + block(CUSTOM_NO_COPY, struct.pack("<I", 32473))
                                  + block(0x0000BEEF, b"") + packet(two[1]))
    yield "two-sections.pcapng", section(BIG) + interface(BIG) + packet(two[0], order=BIG) + section() + interface() + packet(two[1])
    yield "forgotten-interfaces.pcapng", plain + packet(two[0]) + section() + packet(two[1])
    yield "section-length.pcapng", section(length=len(interface()) + len(packet(two[0]))) + interface() + packet(two[0])
    yield "version-1-2.pcapng", section(version=(1, 2)) + interface() + packet(two[0])
    yield "version-2-0.pcapng", section(version=(2, 0)) + interface() + packet(two[0])
    yield "interface-after-packets.pcapng", plain + packet(two[0]) + interface() + packet(two[1], 1)
    yield "reserved-bits.pcapng", section() + interface(reserved=0xFFFF) + packet(two[0])
    yield "cooked-alone.pcapng", section() + interface(link=COOKED) + packet(frame(60))
    yield "cooked-between.pcapng", (plain + interface(link=COOKED) + packet(two[0]) + packet(frame(44), 1) + packet(frame(45), 1) + packet(two[1]))
    yield "cooked-first.pcapng", section() + interface(link=COOKED) + interface() + packet(frame(44)) + packet(two[0], 1)
    yield "no-interface.pcapng", section() + packet(two[0])
    yield "wrong-interface.pcapng", plain + packet(two[0]) + packet(two[1], 7)
    yield "simple-cut.pcapng", section() + interface(snaplen=64) + simple(frame(64), 1500) + packet(two[0])
    yield "simple-below-snaplen.pcapng", section() + interface(snaplen=96) + simple(two[1])
    yield "cut.pcapng", section() + interface(snaplen=64) + packet(frame(64), original=1514)
    yield "short.pcapng", plain + packet(frame(13)) + packet(two[0])
    yield "captured-beyond-block.pcapng", plain + packet(two[0]) + packet(two[1], captured=200)
    yield "lengths-differ.pcapng", plain + packet(two[0]) + packet(two[1])[:-4] + struct.pack("<I", 100)
    yield "length-odd.pcapng", plain + packet(two[0]) + struct.pack("<II", EPB, 93) + bytes(85)
    yield "length-8.pcapng", plain + packet(two[0]) + struct.pack("<II", EPB, 8) + bytes(4)
    yield "in-a-block.pcapng", plain + packet(two[0]) + packet(two[1])[:-2]
    yield "in-a-skipped-block.pcapng", plain + packet(two[0]) + block(CUSTOM, bytes(64))[:40]
    yield "in-the-section.pcapng", section()[:20]


for name, contents in files():
    with open(name, "wb") as out:
        out.write(contents)
