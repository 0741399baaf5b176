//! What the card does in the stack's place, and how it is switched off.

use crate::common::{Card, Liar, MAC, frame, received, refused};
use driver_core::buf::{Batch, Checksum, PoolConfig};
use driver_core::device::{Caps, Config, ConfigError, ErrorKind, FlowControl, NetDevice, Offloads, Timestamps};
use driver_core::offload::Work;
use driver_core::queue::{Refusal, RxQueue, TxQueue, TxState};

/// A UDP frame over IPv4 whose checksums are right, and one whose UDP checksum is wrong.
fn datagrams() -> [Vec<u8>; 2] {
    let mut bytes = frame(MAC, 14, 0);
    bytes[12..14].copy_from_slice(&[0x08, 0x00]);
    bytes.extend([0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([0x04, 0xd2, 0, 7, 0, 12, 0, 0, 1, 2, 3, 4]);
    let sum = |words: &[u8], more: u32| {
        let sum = words.chunks(2).fold(more, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        !(((sum & 0xffff) + (sum >> 16)) as u16)
    };
    let ip = sum(&bytes[14..34], 0);
    bytes[24..26].copy_from_slice(&ip.to_be_bytes());
    // The pseudo header: addresses, protocol, length.
    let udp = sum(&bytes[26..46], 17 + 12);
    bytes[40..42].copy_from_slice(&udp.to_be_bytes());
    bytes.resize(60, 0);
    let mut wrong = bytes.clone();
    wrong[40] ^= 1;
    [bytes, wrong]
}

/// What is said of frames that come in bursts of `burst`, polled `budget` at a time.
fn said(offloads: Offloads, burst: usize, budget: usize) -> Vec<[Checksum; 2]> {
    let card = Card::new();
    let mut started = card.start(&Config::new().offloads(offloads));
    let datagrams = datagrams();
    for _ in 0..burst {
        datagrams.iter().for_each(|bytes| card.send(bytes));
    }
    let mut batch = Batch::new(64);
    while started.rx[0].poll(&mut batch, budget) > 0 {}
    let frames: Vec<_> = batch.frames().iter().map(|frame| (frame.data().to_vec(), frame.checksum())).collect();
    let counters = started.rx[0].counters();
    assert_eq!((counters.packets, counters.errors), (2 * burst as u64, 0));
    assert!(frames.chunks(2).all(|pair| pair.iter().map(|(bytes, _)| bytes).eq(&datagrams)));
    frames.chunks(2).map(|pair| [pair[0].1, pair[1].1]).collect()
}

#[test]
fn frames_tell_what_the_card_found_of_their_checksums() {
    assert_eq!(said(Offloads::all(), 1, 1), [[Checksum::Good, Checksum::Unknown]]);
    assert_eq!(said(Offloads::all(), 20, 64), [[Checksum::Good, Checksum::Unknown]; 20]);
}

#[test]
fn verdicts_that_are_not_wanted_are_not_shown() {
    let offloads = Offloads::all() - Offloads::RX_CHECKSUM;
    assert_eq!(said(offloads, 1, 1), [[Checksum::Unknown; 2]]);
    assert_eq!(said(offloads, 20, 64), [[Checksum::Unknown; 2]; 20]);
}

#[test]
fn a_frame_of_several_buffers_shows_no_verdict_either() {
    let card = Card::new();
    let mut started = card.start(&Config::new().mtu(9000).offloads(Offloads::all() - Offloads::RX_CHECKSUM));
    let long = frame(MAC, 5000, 3);
    card.send(&long);
    assert_eq!(received(&mut started.rx[0]), [long]);
}

#[test]
fn what_is_in_use_is_told() {
    let card = Card::new();
    let opened = card.open().unwrap();
    let switched = Caps::RX_CHECKSUM | Caps::TX_CHECKSUM | Caps::TX_SCTP_CRC | Caps::TX_VLAN_INSERT | Caps::TX_SEGMENTATION | Caps::RX_SCATTER;
    let asked_for = Caps::FLOW_CONTROL | Caps::RX_VLAN_STRIP | Caps::DOUBLE_VLAN | Caps::TIMESTAMPS | Caps::RX_COALESCING | Caps::HEADER_SPLIT;
    let driven = asked_for
        | switched
        | Caps::TX_GATHER
        | Caps::RSS
        | Caps::INTERRUPTS
        | Caps::RX_FILTERS
        | Caps::SET_MAC
        | Caps::LINK_STATE
        | Caps::VLAN_FILTERS
        | Caps::FLOW_STEERING
        | Caps::TX_COUNT
        | Caps::RECOVERY;
    assert_eq!((opened.info().used_caps, opened.info().caps.contains(driven)), (driven, true));
    let started = opened.start(&Config::new().offloads(Offloads::empty())).unwrap();
    assert_eq!(started.control.info().unused_caps() & driven, asked_for | switched | Caps::RSS | Caps::INTERRUPTS);
    assert_eq!(started.control.info().software_caps(), Caps::SOFTWARE, "what the card is not to do, software does");
    drop(started);
    let config = || Config::new().rx_queues(2).interrupts(true).flow_control(FlowControl::OBEY).rx_vlan_strip(true).double_vlan(0x88a8);
    // Of these three a queue does one.
    let one_of = Caps::RX_COALESCING | Caps::HEADER_SPLIT | Caps::TIMESTAMPS;
    for (config, one) in [
        (config().rx_coalescing(true).header_split(true), Caps::RX_COALESCING),
        (config().header_split(true), Caps::HEADER_SPLIT),
        (config().rx_coalescing(true).header_split(true).timestamps(Timestamps::Ptp), Caps::TIMESTAMPS),
    ] {
        assert_eq!(Card::new().start(&config).control.info().used_caps, (driven - one_of) | one);
    }
}

#[test]
fn frames_lie_in_one_buffer_where_spreading_is_switched_off() {
    let whole = Offloads::all() - Offloads::RX_SCATTER;
    for (mtu, buffer_bytes) in [(1500, 2048), (2030, 2048), (2031, 3072), (9000, 9216), (9710, 10 * 1024)] {
        let card = Card::new();
        let mut started = card.start(&Config::new().mtu(mtu).offloads(whole));
        assert_eq!((started.pool.data_bytes(), started.control.info().used_caps.contains(Caps::RX_SCATTER)), (buffer_bytes, false));
        let bytes = frame(MAC, mtu as usize + 14, 3);
        card.send(&bytes);
        let mut batch = Batch::new(4);
        assert_eq!(started.rx[0].poll(&mut batch, 4), 1);
        assert!(batch.frames()[0].is_linear() && batch.frames()[0].data() == bytes);
        drop((started, batch));
        let config = Config::new().mtu(mtu).offloads(whole).pool(card.pool(PoolConfig::new(2048).data_bytes(2048)));
        let (error, _) = match card.open().unwrap().start(&config) {
            Ok(_) if buffer_bytes == 2048 => continue,
            other => refused(other),
        };
        let small = ConfigError::PoolBuffers { buffer_bytes: 2048, min_bytes: buffer_bytes };
        assert!(matches!(error.kind(), ErrorKind::Config(found) if *found == small), "{error}");
    }
}

/// The card is to do neither.
#[test]
fn what_software_is_not_to_do_is_refused_by_name() {
    let (sum, crc, tag) = (Work::CHECKSUM, Work::SCTP_CRC, Work::VLAN);
    let table = [
        (Caps::empty(), sum | crc | tag),
        (Caps::TX_CHECKSUM, crc | tag),
        (Caps::TX_SCTP_CRC, sum | tag),
        (Caps::TX_VLAN_INSERT, sum | crc),
        (Caps::SOFTWARE, Work::empty()),
    ];
    for (software, off) in table {
        let card = Card::new();
        let mut started = card.start(&Config::new().offloads(Offloads::empty()).software(software));
        assert_eq!(started.control.info().software_caps(), software);
        for asked in [sum, crc, tag, sum | tag, crc | tag] {
            let bytes = datagrams()[0].clone();
            let (mut batch, mut asking) = (Batch::new(1), started.pool.frame_from(&bytes).unwrap());
            if asked.contains(sum) {
                asking.set_checksum(Checksum::Partial { start: 34, offset: 6 });
            }
            if asked.contains(crc) {
                asking.set_checksum(Checksum::PartialSctp { start: 34 });
            }
            asking.set_vlan(asked.contains(tag).then_some(5));
            batch.push(asking).unwrap();
            let (state, left) = (started.tx[0].submit(&mut batch), asked & off);
            let wanted = if left.is_empty() { TxState::Running } else { TxState::Refused(Refusal::SwitchedOff(left)) };
            assert_eq!((state, batch.len(), card.sent().len()), (wanted, usize::from(!left.is_empty()), usize::from(left.is_empty())));
            assert!(batch.frames().iter().all(|frame| frame.data() == bytes && Work::of(frame) == asked), "it is as it was");
        }
    }
}

/// One vector is the receive queue's and the link's.
#[test]
fn a_card_without_vectors_offers_no_interrupts() {
    for (vectors, offers) in [(0, false), (1, true)] {
        let (card, liar) = (Card::new(), Liar::default());
        liar.lies().vectors = Some(vectors);
        let opened = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap();
        let info = opened.info();
        assert_eq!([info.caps, info.used_caps].map(|caps| caps.contains(Caps::INTERRUPTS)), [offers; 2]);
        assert_eq!(opened.start(&Config::new().interrupts(true)).is_ok(), offers);
    }
}
