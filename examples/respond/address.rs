//! Addresses from the command line: those that one host on a network can have.

use smoltcp::wire::{Ipv4Cidr, Ipv6Cidr};

/// An IPv4 address with its prefix.
pub(crate) fn ipv4(text: &str) -> Result<Ipv4Cidr, &'static str> {
    let cidr: Ipv4Cidr = text.parse().map_err(|()| "an address and the length of its prefix, for instance 10.9.0.2/24")?;
    let (address, prefix) = (cidr.address(), cidr.prefix_len());
    // On links of two hosts, prefixes of 31 and 32 bits leave no address out (RFC 3021).
    let names_all = prefix < 31 && (address == cidr.network().address() || Some(address) == cidr.broadcast());
    match address.octets() {
        [0, ..] => Err("0.0.0.0/8 means this network, no host: give a host's address, for instance 10.9.0.2/24"),
        [127, ..] => Err("127.0.0.0/8 never leaves a host: give another address, for instance 10.9.0.2/24"),
        [255, 255, 255, 255] => Err("255.255.255.255 is everybody's: give a host's address, for instance 10.9.0.2/24"),
        [224..=239, ..] => Err("224.0.0.0/4 are groups: give a host's address, for instance 10.9.0.2/24"),
        [240..=255, ..] => Err("240.0.0.0/4 is reserved: give another address, for instance 10.9.0.2/24"),
        _ if names_all => Err("this is the network's own or its broadcast address: give a host's, for instance 10.9.0.2/24"),
        _ if prefix == 0 => Err("a prefix of 0 bits is all the world: give the network's, for instance 10.9.0.2/24"),
        _ => Ok(cidr),
    }
}

/// An IPv6 address with its prefix.
pub(crate) fn ipv6(text: &str) -> Result<Ipv6Cidr, &'static str> {
    let cidr: Ipv6Cidr = text.parse().map_err(|()| "an address and the length of its prefix, for instance fd00::2/64")?;
    let address = cidr.address();
    if address.is_multicast() {
        Err("ff00::/8 are groups: give a host's address, for instance fd00::2/64")
    } else if address.is_unspecified() || address.is_loopback() {
        Err(":: and ::1 are no addresses on a network: give a host's, for instance fd00::2/64")
    } else if cidr.prefix_len() == 0 {
        Err("a prefix of 0 bits is all the world: give the network's, for instance fd00::2/64")
    } else {
        Ok(cidr)
    }
}
