//! The hash that a frame tells is the one that software computes of its flow, and what it covers is what was asked for, on every card.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::common::{Card, I82599, MAC, X540, X550};
use driver_core::buf::{Batch, Rss};
use driver_core::device::{Config, NetDevice, RssConfig};
use driver_core::offload::{FlowTuple, RssTypes};
use driver_core::queue::RxQueue;
use proptest::prelude::*;

/// Hash types that the cards have.
const TYPES: RssTypes = RssTypes::from_bits_retain(0x3f);

/// What a frame is: a flow, as far as its packets tell it, and how it is wrapped.
#[derive(Debug, Clone)]
struct Packet {
    is_v6: bool,
    addresses: [u8; 32],
    ports: [u16; 2],
    /// The protocol number: TCP, UDP, or one without ports.
    protocol: u8,
    is_fragment: bool,
    /// Of a fragment of IPv6: there are more, or it is the only one.
    has_more: bool,
    is_tagged: bool,
}

impl Packet {
    fn flow(&self) -> FlowTuple {
        let [source, destination] = self.ports;
        let octets = |at: usize| <[u8; 16]>::try_from(&self.addresses[at..at + 16]).unwrap();
        let flow = if self.is_v6 {
            FlowTuple::v6(Ipv6Addr::from(octets(0)), Ipv6Addr::from(octets(16)))
        } else {
            let [a, b, c, d, e, f, g, h, ..] = self.addresses;
            FlowTuple::v4(Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h))
        };
        match self.protocol {
            6 if !self.is_fragment => flow.tcp(source, destination),
            17 if !self.is_fragment => flow.udp(source, destination),
            _ => flow,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let [source, destination] = self.ports.map(u16::to_be_bytes);
        let payload = [&source[..], &destination, &[0, 24, 0, 0], &[0x50; 16]].concat();
        let tag: &[u8] = if self.is_tagged { &[0x81, 0, 0, 5] } else { &[] };
        let ip = if self.is_v6 {
            let (next, extension) =
                if self.is_fragment { (44, vec![self.protocol, 0, 0, self.has_more.into(), 0, 0, 0, 1]) } else { (self.protocol, vec![]) };
            let len = (extension.len() + payload.len()) as u16;
            [&[0x86, 0xdd, 0x60, 0, 0, 0][..], &len.to_be_bytes(), &[next, 64], &self.addresses, &extension].concat()
        } else {
            let flags = if self.is_fragment { 0x20 } else { 0x40 };
            [&[0x08, 0x00, 0x45, 0, 0, 44, 0, 1, flags, 0, 64, self.protocol, 0, 0][..], &self.addresses[..8]].concat()
        };
        [&MAC.0[..], &[2, 0, 0, 0, 0, 0x77], tag, &ip, &payload].concat()
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    (
        any::<bool>(),
        any::<[u8; 32]>(),
        any::<[u16; 2]>(),
        prop::sample::select(vec![6u8, 17, 17, 1, 50]),
        prop::bool::weighted(0.2),
        any::<[bool; 2]>(),
    )
        .prop_map(|(is_v6, addresses, ports, protocol, is_fragment, [has_more, is_tagged])| Packet {
            is_v6,
            addresses,
            ports,
            protocol,
            is_fragment,
            has_more,
            is_tagged,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_tells_the_hash_that_software_computes(
        device in prop::sample::select(vec![I82599, X540, X550]), key: [u8; 32], types in 0u32..0x40, queues in 2u16..16,
        packets in prop::collection::vec(packet(), 1..24),
    ) {
        // Eight bytes of the key are fixed, since arrays end at 32 here.
        let key: [u8; 40] = [&key[..], &[0xc3; 8]].concat().try_into().unwrap();
        let types = RssTypes::from_bits_truncate(types);
        let card = Card::of(device);
        let mut started = card.start(&Config::new().rx_queues(queues).rx_ring(64).rss(RssConfig::new().key(key).types(types)));
        prop_assert_eq!(started.control.settings().rss().hash_types(), Some(types & TYPES));
        let mut batch = Batch::new(8);
        for packet in &packets {
            card.send(&packet.bytes());
            let at: Vec<_> = started.rx.iter_mut().map(|rx| rx.poll(&mut batch, 8)).collect();
            prop_assert_eq!(batch.len(), 1);
            let wanted: Option<Rss> = packet.flow().hash(&key, types);
            let frame = &batch.frames()[0];
            prop_assert_eq!(frame.rss(), wanted, "{:?}", packet);
            prop_assert_eq!(FlowTuple::of(frame), Some(packet.flow()));
            let queue = wanted.map_or(0, |rss| started.control.settings().rss().queue_of(rss.hash).unwrap());
            prop_assert_eq!(at[usize::from(queue)], 1);
            prop_assert_eq!(frame.rx_queue(), queue);
            batch.clear();
        }
    }
}
