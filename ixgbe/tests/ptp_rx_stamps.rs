//! Stamps of received frames: PTP's messages on all cards, every frame on the X550.

use crate::common::{Card, I82599, MAC, X540, X550, frame};
use crate::ptp::{arrives, config, message, now_ns, sync, watched_us, xstat};
use driver_core::buf::{Batch, BufPool, PoolConfig};
use driver_core::device::{Config, NetDevice, Rule, Timestamps};
use driver_core::host::RegSpace;
use driver_core::queue::RxQueue;

const CARDS: [u16; 3] = [I82599, X540, X550];

#[test]
fn event_messages_are_stamped_and_nothing_else() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&config(Timestamps::Ptp));
        // Sync, Delay_Req, Pdelay_Req, Pdelay_Resp; Follow_Up, Announce.
        for (kind, is_event) in [(0, true), (1, true), (2, true), (3, true), (8, false), (11, false)] {
            for port in [None, Some(319)] {
                let sent = message(kind, port);
                let (stamp, bytes, [before, after]) = arrives(&card, &mut started, &sent);
                assert_eq!((stamp.is_some(), bytes), (is_event, sent), "{device:#x}: type {kind}, {port:?}");
                if let Some(stamp) = stamp {
                    assert!((before..=after).contains(&stamp), "{device:#x}: {stamp} is not in {before}..={after}");
                }
            }
        }
        for other in [message(0, Some(320)), frame(MAC, 60, 1)] {
            assert_eq!(arrives(&card, &mut started, &other).0, None);
        }
        card.assert_no_violations();
    }
}

#[test]
fn stamps_are_those_of_the_clock_as_it_is_set() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&config(Timestamps::Ptp));
        crate::ptp::clock(&started).set(1_790_000_000_000_000_000).unwrap();
        let (stamp, _, [before, after]) = arrives(&card, &mut started, &sync());
        assert!((before..=after).contains(&stamp.unwrap()) && before >= 1_790_000_000_000_000_000, "{device:#x}: {stamp:?}");
    }
}

/// A buffer of one kilobyte, so that a stamp may lie across the end of one, or alone in the next.
#[test]
fn the_x550_stamps_every_frame() {
    let card = Card::of(X550);
    let pool = BufPool::new(&card.domain(), PoolConfig::new(2048).data_bytes(1024)).unwrap();
    let mut started = card.start(&config(Timestamps::All).mtu(4000).pool(pool));
    let tagged = |len| [&frame(MAC, len, 1)[..12], &[0x81, 0, 0xe0, 7], &frame(MAC, len, 1)[12..]].concat();
    let lengths = [60, 61, 1015, 1016, 1017, 1020, 1023, 1024, 1025, 1514, 2040, 2045, 2048, 4013, 4014];
    for sent in lengths.map(|len| frame(MAC, len, 9)).into_iter().chain([tagged(60), tagged(4014), sync(), message(8, Some(319))]) {
        let (stamp, bytes, [before, after]) = arrives(&card, &mut started, &sent);
        assert_eq!(bytes, sent, "{} bytes", sent.len());
        let stamp = stamp.expect("a stamp");
        assert!((before..=after).contains(&stamp), "{} bytes: {stamp} is not in {before}..={after}", sent.len());
    }
    card.assert_no_violations();
}

#[test]
fn what_the_card_says_of_a_frame_stays_beside_its_stamp() {
    let card = Card::of(X550);
    let mut started = card.start(&config(Timestamps::All).rx_vlan_strip(true));
    let udp = message(0, Some(319));
    let tagged = [&udp[..12], &[0x81, 0, 0x60, 7], &udp[12..]].concat();
    card.send(&tagged);
    let mut batch = Batch::new(8);
    assert_eq!(started.rx[0].poll(&mut batch, 8), 1);
    let received = &batch.frames()[0];
    assert_eq!((received.data(), received.vlan(), received.timestamp_ns().is_some()), (&udp[..], Some(0x6007), true));
    assert_eq!(received.checksum(), driver_core::buf::Checksum::Unknown, "UDP without a checksum");
    card.assert_no_violations();
}

#[test]
fn in_one_buffer_where_it_must_be_and_as_large_as_can_be() {
    let card = Card::of(X550);
    let whole = driver_core::device::Offloads::all() - driver_core::device::Offloads::RX_SCATTER;
    let mut started = card.start(&config(Timestamps::All).offloads(whole).mtu(2030));
    let sent = frame(MAC, 2044, 3);
    let (stamp, bytes, _) = arrives(&card, &mut started, &sent);
    assert_eq!((stamp.is_some(), bytes.len()), (true, 2044));
    card.assert_no_violations();
}

/// A rule for PTP's EtherType shares the filter with the stamps, and leaves it behind.
#[test]
fn a_rule_for_ptp_keeps_the_stamps() {
    let card = Card::new();
    let mut started = card.start(&config(Timestamps::Ptp).rx_queues(4));
    let id = started.control.add_rule(&Rule::to_queue(3).ethertype(0x88f7)).unwrap();
    let queue_of = |started: &mut crate::common::Started| {
        card.send(&sync());
        let mut batch = Batch::new(8);
        let queue = started.rx.iter_mut().position(|rx| rx.poll(&mut batch, 8) == 1).unwrap();
        (queue, batch.frames()[0].timestamp_ns().is_some())
    };
    assert_eq!(queue_of(&mut started), (3, true));
    started.control.remove_rule(id).unwrap();
    assert_eq!(queue_of(&mut started), (0, true));
    // Seven places are left for others, and one of them is not taken by PTP's.
    for n in 0..7 {
        started.control.add_rule(&Rule::to_queue(1).ethertype(0x9000 + n)).unwrap();
    }
    let error = started.control.add_rule(&Rule::to_queue(1).ethertype(0x9009)).unwrap_err().to_string();
    assert!(error.contains("0 of 7 free"), "{error}");
    started.control.add_rule(&Rule::to_queue(2).ethertype(0x88f7)).unwrap();
    assert_eq!(queue_of(&mut started), (2, true));
    card.assert_no_violations();
}

/// The frame whose stamp lies in the registers never came: no other would be stamped for ever.
#[test]
fn a_stamp_that_nobody_fetches_makes_room() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&config(Timestamps::Ptp).rx_queues(2));
        started.control.add_rule(&Rule::to_queue(1).ethertype(0x88f7)).unwrap();
        card.send(&sync());
        // Its queue goes, and the frame with it.
        drop(started.rx.pop());
        let clock = crate::ptp::clock(&started);
        watched_us(&card, &mut started, 3_000_000);
        assert_eq!(xstat(&mut started, "rx_hwtstamp_cleared"), 0);
        watched_us(&card, &mut started, 3_000_000);
        assert_eq!(xstat(&mut started, "rx_hwtstamp_cleared"), 1, "{device:#x}");
        let before = now_ns(&clock);
        let (stamp, ..) = arrives(&card, &mut started, &message(0, Some(319)));
        assert!(stamp.unwrap() >= before, "{device:#x}: the next one's own");
        card.assert_no_violations();
    }
}

#[test]
fn off_is_without_a_stamp() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&Config::new().rx_mode(driver_core::device::RxMode::PROMISCUOUS));
        card.send(&sync());
        let mut batch = Batch::new(8);
        assert_eq!(started.rx[0].poll(&mut batch, 8), 1);
        assert_eq!(batch.frames()[0].timestamp_ns(), None);
        let registers = card.registers();
        assert_eq!([0x5188, 0x8c00, 0x8c14].map(|at| registers.read32(at)), [0, 0, 0], "{device:#x}: TSYNCRXCTL, TSYNCTXCTL, TIMINCA");
        card.assert_no_violations();
    }
}
