//! What the card says of received checksums, for every kind of packet, held to what software finds.

use crate::common::{Card, I82599, X540, X550};
use crate::packets::{Packet, TCP, UDP, by_software, packets, pool};
use driver_core::buf::{Batch, Checksum, Frame};
use driver_core::device::{Config, RxMode};
use driver_core::offload::fill_transport;
use driver_core::queue::RxQueue;
use driver_core::testing::bytes_of;
use proptest::prelude::*;

/// The frame with all checksums right.
fn right(packet: &Packet) -> Vec<u8> {
    by_software(&packet.bytes(), Some(packet.partial()), None)
}

fn sctp(is_ipv6: bool) -> Vec<u8> {
    let packet = Packet::new(UDP, is_ipv6, 40);
    let mut bytes = packet.bytes();
    let protocol_at = packet.ip_at() + if is_ipv6 { 6 } else { 9 };
    bytes[protocol_at] = 132;
    let mut frame = pool().frame_from(&bytes).unwrap();
    fill_transport(&mut frame).unwrap();
    if !is_ipv6 {
        driver_core::offload::fill_ipv4(&mut frame).unwrap();
    }
    bytes_of(&frame)
}

fn changed(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 0x40;
    bytes
}

/// What the card says of these frames, in the order in which they come.
fn said(device: u16, config: Config, frames: &[Vec<u8>]) -> Vec<Checksum> {
    let card = Card::of(device);
    let mut started = card.start(&config.rx_mode(RxMode::PROMISCUOUS));
    frames.iter().for_each(|bytes| card.send(bytes));
    let mut batch = Batch::new(frames.len());
    while started.rx[0].poll(&mut batch, 32) > 0 {}
    assert!(batch.frames().iter().map(bytes_of).eq(frames.iter().cloned()));
    let counters = started.rx[0].counters();
    assert_eq!((counters.packets, counters.errors), (frames.len() as u64, 0), "a wrong checksum is no error of the frame");
    card.assert_no_violations();
    batch.frames().iter().map(Frame::checksum).collect()
}

#[test]
fn each_kind_of_packet_has_its_verdict() {
    use Checksum::{Bad, Good, Unknown};
    let of = |protocol, is_ipv6| Packet::new(protocol, is_ipv6, 100);
    let mut table = Vec::new();
    for is_ipv6 in [false, true] {
        let (tcp, udp) = (right(&of(TCP, is_ipv6)), right(&of(UDP, is_ipv6)));
        // CHECKSUM-UDP: what the card calls wrong of UDP it may be wrong about.
        table.extend([(tcp.clone(), Good), (changed(tcp, 90), Bad), (udp.clone(), Good), (changed(udp, 90), Unknown)]);
        table.extend([(sctp(is_ipv6), Good), (changed(sctp(is_ipv6), 70), Bad)]);
        let options = Packet { options: 2, ..of(TCP, is_ipv6) };
        table.extend([(right(&options), Good), (changed(right(&options), 95), Bad)]);
        let tagged = Packet { tag_in_frame: Some(7), ..of(TCP, is_ipv6) };
        table.extend([(right(&tagged), Good), (changed(right(&tagged), 95), Bad)]);
    }
    // The time to live: the IPv4 header's checksum alone is wrong.
    table.extend([(changed(right(&of(TCP, false)), 22), Bad), (changed(right(&of(UDP, false)), 22), Bad)]);
    // UDP without a checksum, a fragment, another protocol (whose IPv4 header is wrong, too), no IP at all.
    let mut bare = right(&of(UDP, false));
    bare[40..42].fill(0);
    let mut fragment = pool().frame_from(&changed(right(&of(TCP, false)), 21)).unwrap();
    driver_core::offload::fill_ipv4(&mut fragment).unwrap();
    table.extend([(bare, Unknown), (bytes_of(&fragment), Unknown), (changed(right(&of(TCP, false)), 23), Bad), (vec![0xa5; 100], Unknown)]);
    let (frames, wanted): (Vec<_>, Vec<_>) = table.into_iter().unzip();
    for device in [I82599, X540, X550] {
        assert_eq!(said(device, Config::new(), &frames), wanted);
    }
}

/// All of it stands in the last descriptor.
#[test]
fn frames_of_several_buffers_have_one_too() {
    let mut packets: Vec<_> = [TCP, UDP].map(|protocol| right(&Packet::new(protocol, false, 6000))).into();
    packets.push(changed(packets[0].clone(), 5000));
    let said = said(I82599, Config::new().mtu(9000), &packets);
    assert_eq!(said, [Checksum::Good, Checksum::Good, Checksum::Bad]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), failure_persistence: None, ..ProptestConfig::default() })]

    /// A good one is good, and a bad one bad, whatever else software would have found.
    #[test]
    fn no_verdict_is_wrong(packets in prop::collection::vec((packets(), prop::option::of((14usize..1400, 1u8..))), 1..24)) {
        let frames: Vec<_> = packets.iter().map(|(packet, change)| {
            let mut bytes = right(packet);
            if let Some((at, bits)) = *change {
                let at = at % bytes.len();
                bytes[at.max(14)] ^= bits;
            }
            bytes
        }).collect();
        let pool = pool();
        for (said, bytes) in said(I82599, Config::new(), &frames).into_iter().zip(&frames) {
            let by_software = pool.frame_from(bytes).unwrap().verify_checksum();
            prop_assert!(said == Checksum::Unknown || said == by_software, "{said:?}, and software {by_software:?}: {bytes:x?}");
        }
    }
}
