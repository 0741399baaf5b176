"""Ethernet, ARP, IPv4, ICMP, UDP and TCP frames: what the host side of a test builds and checks. No frame carries an FCS."""

import socket
import struct

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_EXPERIMENTAL = 0x88B5  # IEEE Std 802, local experimental EtherType 1
MIN_FRAME = 60
MAX_FRAME = 1514
BROADCAST = b"\xff" * 6
ICMP_ECHO_REPLY, ICMP_ECHO = 0, 8
PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP = 1, 6, 17
ARP_REQUEST, ARP_REPLY = 1, 2

_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_ICMP = struct.Struct("!BBHHH")
_UDP = struct.Struct("!HHHH")
_TCP = struct.Struct("!HHIIBBHHH")
_TCP_ACK = 16
_ARP = struct.Struct("!HHBBH6s4s6s4s")


class Malformed(Exception):
    """The frame breaks the format that its headers claim."""


def mac(text):
    """The six bytes of an address such as `52:54:00:12:00:03`."""
    return bytes.fromhex(text.replace(":", ""))


def ip(text):
    """The four bytes of an IPv4 address."""
    return socket.inet_aton(text)


def checksum(data):
    """The Internet checksum (RFC 1071) of the bytes. 0 for data whose checksum field is right."""
    if len(data) % 2:
        data += b"\0"
    # The ones' complement sum of 16-bit words is the number modulo 65535; only all-zero data sums to plain zero.
    total = int.from_bytes(data, "big")
    rest = total % 0xFFFF
    return 0xFFFF - (rest or 0xFFFF) if total else 0xFFFF


def ethernet(destination, source, ethertype, payload):
    """A frame, padded to the minimum of 60 bytes."""
    frame = _ETHERNET.pack(destination, source, ethertype) + payload
    return frame + bytes(max(0, MIN_FRAME - len(frame)))


def ipv4(source, destination, protocol, payload, identification=0):
    """An IPv4 packet without options."""
    fields = (0x45, 0, 20 + len(payload), identification, 0, 64, protocol)
    header = _IPV4.pack(*fields, 0, source, destination)
    return _IPV4.pack(*fields, checksum(header), source, destination) + payload


def icmp_echo(kind, identifier, sequence, payload):
    """An ICMP echo request or reply."""
    message = _ICMP.pack(kind, 0, 0, identifier, sequence) + payload
    return _ICMP.pack(kind, 0, checksum(message), identifier, sequence) + payload


def udp(source, destination, source_port, destination_port, payload):
    """A UDP datagram with its checksum over the pseudo header."""
    length = 8 + len(payload)
    pseudo = source + destination + struct.pack("!HH", PROTOCOL_UDP, length)
    datagram = _UDP.pack(source_port, destination_port, length, 0) + payload
    # A sum of zero is sent as all ones: zero says that there is no checksum (RFC 768).
    total = checksum(pseudo + datagram) or 0xFFFF
    return _UDP.pack(source_port, destination_port, length, total) + payload


def tcp(source, destination, source_port, destination_port, payload):
    """A TCP segment of no connection, with its checksum over the pseudo header."""
    fields = (source_port, destination_port, 1, 1, _TCP.size // 4 << 4, _TCP_ACK, 0x1000)
    pseudo = source + destination + struct.pack("!HH", PROTOCOL_TCP, _TCP.size + len(payload))
    total = checksum(pseudo + _TCP.pack(*fields, 0, 0) + payload)
    return _TCP.pack(*fields, total, 0) + payload


def arp(operation, sender_mac, sender_ip, target_mac, target_ip):
    """An ARP message for IPv4 over Ethernet."""
    return _ARP.pack(1, ETHERTYPE_IPV4, 6, 4, operation, sender_mac, sender_ip, target_mac, target_ip)


class Frame:
    """A received frame, taken apart. Raises `Malformed` where a length or a checksum is wrong."""

    def __init__(self, data):
        if len(data) < 14:
            raise Malformed(f"frame of {len(data)} bytes")
        self.data = data
        self.destination, self.source, self.ethertype = _ETHERNET.unpack_from(data)
        self.payload = data[14:]


def parse_arp(payload):
    """(operation, sender MAC, sender IP, target MAC, target IP)."""
    if len(payload) < _ARP.size:
        raise Malformed(f"ARP of {len(payload)} bytes")
    kind, protocol, mac_length, ip_length, *rest = _ARP.unpack_from(payload)
    if (kind, protocol, mac_length, ip_length) != (1, ETHERTYPE_IPV4, 6, 4):
        raise Malformed("ARP that is not for IPv4 over Ethernet")
    return tuple(rest)


def parse_ipv4(payload):
    """(source, destination, protocol, payload without padding); the header's checksum is verified."""
    if len(payload) < 20:
        raise Malformed(f"IPv4 packet of {len(payload)} bytes")
    version, _, length, _, fragment, _, protocol, _, source, destination = _IPV4.unpack_from(payload)
    header = (version & 15) * 4
    if version >> 4 != 4 or header < 20 or not header <= length <= len(payload):
        raise Malformed(f"IPv4 version {version >> 4}, header {header}, length {length} in {len(payload)} bytes")
    if fragment & 0x3FFF:
        raise Malformed("IPv4 fragment")
    if checksum(payload[:header]):
        raise Malformed("IPv4 header checksum is wrong")
    return source, destination, protocol, payload[header:length]


def parse_icmp_echo(message):
    """(type, identifier, sequence, payload); the checksum is verified."""
    if len(message) < 8:
        raise Malformed(f"ICMP message of {len(message)} bytes")
    if checksum(message):
        raise Malformed("ICMP checksum is wrong")
    kind, _, _, identifier, sequence = _ICMP.unpack_from(message)
    return kind, identifier, sequence, message[8:]


def parse_udp(source, destination, datagram):
    """(source port, destination port, payload); length and checksum are verified."""
    if len(datagram) < 8:
        raise Malformed(f"UDP datagram of {len(datagram)} bytes")
    source_port, destination_port, length, total = _UDP.unpack_from(datagram)
    if length != len(datagram):
        raise Malformed(f"UDP length {length} in an IPv4 payload of {len(datagram)} bytes")
    if total and checksum(source + destination + struct.pack("!HH", PROTOCOL_UDP, length) + datagram):
        raise Malformed("UDP checksum is wrong")
    return source_port, destination_port, datagram[8:]
