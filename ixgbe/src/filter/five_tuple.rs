//! 5-tuple filters: IPv4 flows by whole addresses, protocol and ports (7.1.2.5).

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use driver_core::device::{ErrorKind, Masked, Rule, RuleRefusal, Settings};
use driver_core::host::Bar;

use crate::card::Card;
use crate::filter::place::{FIVE_TUPLE, Place, layer_2_fields, layer_3_fields, other_field, queue_of, refuse};
use crate::regs::*;

const ROOM: u8 = 128;
/// 8.2.3.7.19: "001b-111b", the highest first. FIVE-TUPLE-ORDER: no frame may match two of one priority.
const PRIORITIES: core::ops::RangeInclusive<u8> = 1..=7;
/// FTQF's protocols, by IP's numbers.
const PROTOCOLS: [(u8, u32); 3] = [(6, 0), (17, 1), (132, 2)];

pub(super) fn candidates(rule: &Rule, now: &Settings) -> Result<Vec<Place>, RuleRefusal> {
    let taken = |index| now.rules().iter().any(|other| matches!(Place::of(other.place), Place::FiveTuple { index: at, .. } if at == index));
    let used = (0..ROOM).filter(|&index| taken(index)).count();
    let refuse = |why| refuse(FIVE_TUPLE, why, used, ROOM.into());
    if !rule.is_ipv4() {
        return refuse("look at IPv4 alone: name it, or an address of it".into());
    }
    if let Some(field) = other_field(&layer_2_fields(rule)).or(other_field(&[(rule.wants_syn(), "TCP's SYN")])) {
        return refuse(format!("compare addresses, protocol and ports, and not {field}"));
    }
    let is_part = |address: Option<Masked<IpAddr>>| address.is_some_and(|address| !address.is_whole());
    let is_part_port = |port: Option<Masked<u16>>| port.is_some_and(|port| !port.is_whole());
    let parts = [
        (is_part(rule.wanted_source()), "the source address"),
        (is_part(rule.wanted_destination()), "the destination address"),
        (is_part_port(rule.wanted_source_port()), "the source port"),
        (is_part_port(rule.wanted_destination_port()), "the destination port"),
    ];
    if let Some(field) = other_field(&parts) {
        return refuse(format!("compare whole addresses and ports, and not parts of {field}"));
    }
    if rule.wanted_protocol().is_some_and(|protocol| protocol_bits(protocol).is_none()) {
        return refuse("compare the protocols TCP, UDP and SCTP, and no other".into());
    }
    if other_field(&layer_3_fields(rule)).is_none() {
        return refuse("compare at least one of addresses, protocol and ports".into());
    }
    if queue_of(rule).is_none() {
        return refuse("send to a queue, and neither drop nor let pass".into());
    }
    let Some(index) = (0..ROOM).find(|&index| !taken(index)) else { return refuse("are all in use".into()) };
    let wanted = PRIORITIES.filter(|&priority| rule.wanted_priority().is_none_or(|wanted| wanted == priority));
    Ok(wanted.map(|priority| Place::FiveTuple { index, priority }).collect())
}

fn protocol_bits(protocol: u8) -> Option<u32> {
    PROTOCOLS.iter().find(|(number, _)| *number == protocol).map(|(_, bits)| *bits)
}

/// An address as the filters hold it: the first byte on the wire in the lowest bits.
pub(super) fn wire_order(address: Option<Masked<IpAddr>>) -> u32 {
    match address.map(|address| address.value) {
        Some(IpAddr::V4(address)) => u32::from_le_bytes(address.octets()),
        _ => 0,
    }
}

impl<B: Bar> Card<B> {
    /// The enable bit comes last.
    pub(super) fn write_five_tuple(&self, index: u8, priority: u8, rule: &Rule) -> Result<(), ErrorKind> {
        let (bar, index) = (&self.bar, index.into());
        let port = |port: Option<Masked<u16>>| u32::from(port.map_or(0, |port| port.value).swap_bytes());
        SAQF.at(index)?.write(bar, wire_order(rule.wanted_source()));
        DAQF.at(index)?.write(bar, wire_order(rule.wanted_destination()));
        SDPQF.at(index)?.write(bar, port(rule.wanted_source_port()) | port(rule.wanted_destination_port()) << 16);
        L34TIMIR.at(index)?.write(bar, L34TIMIR_RESERVED | queue_of(rule).unwrap_or_default() << L34TIMIR_QUEUE_SHIFT);
        // FTQF's mask has the bits in another order than the rule's fields have here.
        let [source, destination, protocol, source_port, destination_port] = layer_3_fields(rule).map(|(is_set, _)| !is_set);
        let not_compared = [source, destination, source_port, destination_port, protocol];
        let mask = not_compared.iter().rev().fold(0, |mask, &bit| mask << 1 | u32::from(bit));
        let protocol = rule.wanted_protocol().and_then(protocol_bits).unwrap_or_default();
        let order = u32::from(priority) << FTQF_PRIORITY_SHIFT;
        FTQF.at(index)?.write(bar, FTQF_QUEUE_ENABLE | FTQF_POOL_MASK | mask << FTQF_MASK_SHIFT | order | protocol);
        Ok(())
    }

    pub(super) fn clear_five_tuple(&self, index: u8) -> Result<(), ErrorKind> {
        FTQF.at(index.into())?.write(&self.bar, 0);
        Ok(())
    }
}
