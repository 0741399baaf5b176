//! Frames of a small world of flows, and a matcher in software: what rules say, by the letter of `Rule`'s documentation.
#![allow(unreachable_pub)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use driver_core::device::{Config, Masked, NetDevice, RssConfig, Rule, RuleAction};

use super::common::{Card, MAC, PEER, Started};

/// Queues of the cards here; what no rule names comes to queue 0.
pub const QUEUES: u16 = 4;

/// A configuration in which rules alone lead to other queues than 0.
pub fn config() -> Config {
    Config::new().rx_queues(QUEUES).rx_ring(64).rss(RssConfig::new().table(&[0]))
}

/// What is above Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Above {
    Type(u16),
    Ip { source: IpAddr, destination: IpAddr, protocol: u8, ports: (u16, u16), flags: u8, is_fragment: bool },
}

/// A frame by its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Id and priority.
    pub tag: Option<(u16, u8)>,
    pub above: Above,
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SYN: u8 = 2;
pub const ACK: u8 = 16;

pub fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

pub fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 1, 2, 3, last).into()
}

pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, ports: (u16, u16)) -> Flow {
    Flow { tag: None, above: Above::Ip { source, destination, protocol, ports, flags: ACK, is_fragment: false } }
}

pub fn other(ethertype: u16) -> Flow {
    Flow { tag: None, above: Above::Type(ethertype) }
}

impl Flow {
    pub fn tagged(self, id: u16, priority: u8) -> Self {
        Self { tag: Some((id, priority)), ..self }
    }

    pub fn flags(mut self, now: u8) -> Self {
        if let Above::Ip { flags, .. } = &mut self.above {
            *flags = now;
        }
        self
    }

    pub fn fragment(mut self) -> Self {
        if let Above::Ip { is_fragment, .. } = &mut self.above {
            *is_fragment = true;
        }
        self
    }

    /// The frame as the wire has it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = [MAC.0, PEER.0].concat();
        if let Some((id, priority)) = self.tag {
            frame.extend([0x81, 0x00]);
            frame.extend((u16::from(priority) << 13 | id).to_be_bytes());
        }
        match self.above {
            Above::Type(ethertype) => frame.extend(ethertype.to_be_bytes()),
            Above::Ip { source: IpAddr::V4(source), destination: IpAddr::V4(destination), protocol, is_fragment, .. } => {
                frame.extend([8, 0, 0x45, 0, 0, 44, 0, 0, if is_fragment { 0x20 } else { 0x40 }, 0, 64, protocol, 0, 0]);
                frame.extend([source.octets(), destination.octets()].concat());
            }
            Above::Ip { source: IpAddr::V6(source), destination: IpAddr::V6(destination), protocol, .. } => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, protocol, 64]);
                frame.extend([source.octets(), destination.octets()].concat());
            }
            Above::Ip { .. } => panic!("one version"),
        }
        if let Above::Ip { ports, flags, .. } = self.above {
            frame.extend(ports.0.to_be_bytes());
            frame.extend(ports.1.to_be_bytes());
            frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 1, 0]);
        }
        frame.resize(frame.len().max(60) + 12, 0);
        frame
    }

    /// Whether a rule is for it.
    pub fn is_in(&self, rule: &Rule) -> bool {
        let among =
            |wanted: Option<Masked<IpAddr>>, address: IpAddr| wanted.is_none_or(|wanted| masked(address, wanted.mask) == Some(bits(wanted.value)));
        let port_among =
            |wanted: Option<Masked<u16>>, port: Option<u16>| wanted.is_none_or(|wanted| port.is_some_and(|port| port & wanted.mask == wanted.value));
        let tag_fits = rule.wanted_vlan().is_none_or(|id| self.tag.is_some_and(|tag| tag.0 == id))
            && rule.wanted_vlan_priority().is_none_or(|priority| self.tag.is_some_and(|tag| tag.1 == priority));
        let to_us = rule.wanted_destination_mac().is_none_or(|mac| mac == MAC);
        let rest = match self.above {
            Above::Type(ethertype) => rule.wanted_ethertype() == Some(ethertype) && !rule.is_ip(),
            Above::Ip { source, destination, protocol, ports, flags, is_fragment } => {
                let ethertype = if source.is_ipv4() { 0x0800 } else { 0x86dd };
                let has_ports = (!is_fragment && matches!(protocol, TCP | UDP | 132)).then_some(());
                rule.wanted_ethertype().is_none_or(|wanted| wanted == ethertype)
                    && among(rule.wanted_source(), source)
                    && among(rule.wanted_destination(), destination)
                    && rule.wanted_protocol().is_none_or(|wanted| wanted == protocol && !is_fragment)
                    && port_among(rule.wanted_source_port(), has_ports.map(|()| ports.0))
                    && port_among(rule.wanted_destination_port(), has_ports.map(|()| ports.1))
                    && (!rule.wants_syn() || protocol == TCP && !is_fragment && flags & SYN != 0)
            }
        };
        tag_fits && to_us && rest
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn masked(address: IpAddr, mask: IpAddr) -> Option<u128> {
    (address.is_ipv4() == mask.is_ipv4()).then(|| bits(address) & bits(mask))
}

/// The queue that the rules in force give a frame, none where it is dropped: of those it is in, the one of the highest priority decides.
pub fn wanted(started: &Started, flow: &Flow) -> Option<u16> {
    let matching = started.control.rules().iter().filter(|entry| flow.is_in(&entry.rule));
    match matching.max_by_key(|entry| entry.rule.wanted_priority()).map(|entry| entry.rule.action()) {
        Some(RuleAction::Queue(queue)) => Some(queue),
        Some(RuleAction::Drop) => None,
        _ => Some(0),
    }
}

/// Sends a frame and returns the queue that it comes to, whole.
pub fn landed(card: &Card, started: &mut Started, flow: &Flow) -> Option<u16> {
    let bytes = flow.bytes();
    card.send(&bytes);
    let mut at = None;
    for (queue, rx) in (0..).zip(&mut started.rx) {
        for frame in super::common::received(rx) {
            assert_eq!((frame, at), (bytes.clone(), None), "{flow:?}");
            at = Some(queue);
        }
    }
    at
}

/// Every one of `flows` lands where the rules in force say.
#[track_caller]
pub fn steers(card: &Card, started: &mut Started, flows: &[Flow]) {
    for flow in flows {
        let wanted = wanted(started, flow);
        assert_eq!(landed(card, started, flow), wanted, "{flow:?} with {:?}", started.control.rules());
    }
}
