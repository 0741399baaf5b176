use super::*;
use crate::wire::testing::ManualClock;

fn make(config: &TrafficConfig) -> ([Traffic; 2], [Arc<Flow>; 2]) {
    let clock: Arc<dyn Clock> = ManualClock::new();
    pair(config, &clock).unwrap()
}

fn next(wire: &mut Traffic) -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(wire.receive(&mut frame));
    frame
}

#[test]
fn what_one_makes_the_other_finds_intact() {
    for frame_bytes in [60, 61, 63, 64, 67, 1514, MAX_BYTES] {
        let ([mut a, mut b], [there, back]) = make(&TrafficConfig { frame_bytes, ..Default::default() });
        let mut frame = vec![0xff; 20_000];
        for _ in 0..100 {
            assert!(a.receive(&mut frame));
            assert_eq!(frame.len(), frame_bytes);
            assert_eq!(b.send(&frame), Sent::Taken);
            assert!(b.receive(&mut frame));
            assert_eq!(a.send(&frame), Sent::Taken);
        }
        for flow in [there, back] {
            let totals = flow.totals();
            assert_eq!(totals, FlowTotals { generated: 100, intact: 100, ..Default::default() });
            assert_eq!(totals.lost(0), 0);
        }
    }
}

/// The flows' headers are right as others read them.
#[test]
fn frames_of_flows_are_udp_over_ipv4() {
    let macs = [[2, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]];
    for frame_bytes in [60, 61, 1514, MAX_BYTES] {
        let ([mut a, mut b], _) = make(&TrafficConfig { macs, frame_bytes, udp_flows: 3, ..Default::default() });
        for (wire, to, addresses) in [(&mut a, macs[0], [198, 18, 0, 1, 198, 18, 0, 2]), (&mut b, macs[1], [198, 18, 0, 2, 198, 18, 0, 1])] {
            let ports: Vec<_> = (0..7)
                .map(|_| {
                    let frame = next(wire);
                    let be = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
                    assert_eq!((&frame[..6], be(12), frame[14], frame[23], &frame[26..34]), (&to[..], 0x0800, 0x45, 17, &addresses[..]));
                    assert_eq!((usize::from(be(16)), usize::from(be(38)), be(40)), (frame_bytes - 14, frame_bytes - 34, 0));
                    // RFC 791: the sum of a right header is all ones.
                    let sum: u32 = (14..34).step_by(2).map(|at| u32::from(be(at))).sum();
                    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
                    be(34)
                })
                .collect();
            assert_eq!(ports, [1024, 1025, 1026, 1024, 1025, 1026, 1024], "they take turns");
        }
    }
}

#[test]
fn each_flow_has_an_order_of_its_own() {
    let ([mut a, mut b], [there, _]) = make(&TrafficConfig { udp_flows: 3, ..Default::default() });
    let frames: Vec<_> = (0..9).map(|_| next(&mut a)).collect();
    // Flow by flow, as three queues may deliver them: none is out of order.
    for number in [2, 5, 8, 0, 3, 6, 1, 4, 7] {
        b.send(&frames[number]);
    }
    assert_eq!(there.totals(), FlowTotals { generated: 9, intact: 9, ..Default::default() });
    let frames: Vec<_> = (0..6).map(|_| next(&mut a)).collect();
    // Of flow 1 the second comes before the first; of flow 2 none.
    for number in [0, 4, 3, 1] {
        b.send(&frames[number]);
    }
    assert_eq!(there.totals(), FlowTotals { generated: 15, intact: 13, reordered: 1, ..Default::default() });
    // Its second alone.
    b.send(&frames[5]);
    assert_eq!(there.totals(), FlowTotals { generated: 15, intact: 14, reordered: 1, skipped: 1, ..Default::default() });
    b.send(&frames[5]);
    assert_eq!((there.totals().duplicated, there.totals().lost(0)), (1, 1));
}

#[test]
fn more_flows_than_there_are_ports_are_refused() {
    let clock: Arc<dyn Clock> = ManualClock::new();
    let Err(error) = pair(&TrafficConfig { udp_flows: 64_512, ..Default::default() }, &clock) else { panic!("taken") };
    assert_eq!(error.to_string(), "64512 flows: give at most 64511");
}

#[test]
fn frames_are_ethernet_addressed_to_the_card() {
    let macs = [[2, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]];
    let ([mut a, mut b], _) = make(&TrafficConfig { macs, ..Default::default() });
    let (to_first, to_second) = (next(&mut a), next(&mut b));
    assert_eq!((&to_first[..6], &to_first[6..12], &to_first[12..14]), (&macs[0][..], &macs[1][..], &[0x88, 0xb5][..]));
    assert_eq!((&to_second[..6], &to_second[6..12]), (&macs[1][..], &macs[0][..]));
}

#[test]
fn every_single_damaged_bit_is_seen() {
    for (frame_bytes, udp_flows) in [(60, 0), (67, 0), (128, 0), (60, 1), (67, 5), (128, 5)] {
        let ([mut a, mut b], [there, _]) = make(&TrafficConfig { frame_bytes, udp_flows, ..Default::default() });
        let frame = next(&mut a);
        for bit in 0..frame_bytes * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            b.send(&damaged);
            assert_eq!(there.totals().corrupted, bit as u64 + 1, "bit {bit}");
        }
        assert_eq!(there.totals().intact, 0);
    }
}

#[test]
fn frames_of_another_length_direction_or_flow_are_corrupted() {
    let ([mut a, mut b], [there, back]) = make(&TrafficConfig { frame_bytes: 64, ..Default::default() });
    let frame = next(&mut a);
    for len in [0, 13, 40, 60, 63] {
        b.send(&frame[..len]);
    }
    b.send(&[&frame[..], &[0]].concat());
    assert_eq!(there.totals().corrupted, 6);
    a.send(&frame);
    assert_eq!(back.totals().corrupted, 1, "it came back to the wire that made it");
    let ([mut other, _], _) = make(&TrafficConfig { frame_bytes: 64, flow: 2, ..Default::default() });
    b.send(&next(&mut other));
    assert_eq!(there.totals().corrupted, 7);
}

#[test]
fn exchanged_addresses_are_intact() {
    let ([mut a, mut b], [there, _]) = make(&TrafficConfig::default());
    let mut frame = next(&mut a);
    let (to, from) = frame[..12].split_at_mut(6);
    to.swap_with_slice(from);
    b.send(&frame);
    assert_eq!(there.totals().intact, 1);
}

#[test]
fn lost_reordered_and_duplicated_frames_are_counted() {
    let ([mut a, mut b], [there, _]) = make(&TrafficConfig::default());
    let frames: Vec<_> = (0..10).map(|_| next(&mut a)).collect();
    // 3 is lost, 6 comes after 8, 1 comes twice.
    for number in [0, 1, 1, 2, 4, 5, 7, 8, 6, 9] {
        b.send(&frames[number]);
    }
    let totals = there.totals();
    assert_eq!(totals, FlowTotals { generated: 10, intact: 9, corrupted: 0, reordered: 1, duplicated: 1, skipped: 1 });
    assert_eq!((totals.lost(0), totals.lost(1)), (1, 0), "a card that reports it missed is no loss");
    assert_eq!((totals + totals).lost(1), 1);
}

#[test]
fn count_ends_generation() {
    let ([mut a, _], [there, _]) = make(&TrafficConfig { count: Some(3), ..Default::default() });
    let mut frame = Vec::new();
    assert!(!a.is_finished());
    assert_eq!((0..10).filter(|_| a.receive(&mut frame)).count(), 3);
    assert!(a.is_finished());
    assert_eq!(there.totals().generated, 3);
}

#[test]
fn stop_ends_generation_of_one_direction() {
    let ([mut a, mut b], [there, _]) = make(&TrafficConfig::default());
    next(&mut a);
    there.stop();
    assert!(!a.receive(&mut Vec::new()) && a.is_finished());
    next(&mut b);
}

#[test]
fn a_rate_is_kept() {
    let manual = ManualClock::new();
    let clock: Arc<dyn Clock> = manual.clone();
    let ([mut a, _], _) = pair(&TrafficConfig { rate_pps: Some(10_000), ..Default::default() }, &clock).unwrap();
    manual.sleep_us(123_456);
    let (mut frame, mut generated) = (Vec::new(), 0);
    for _ in 0..100 {
        while a.receive(&mut frame) {
            generated += 1;
        }
        manual.sleep_us(1000);
    }
    assert_eq!(generated, 99 * 10 + 1, "10 a millisecond, the first at once");
}

#[test]
fn a_flood_does_not_wait_for_descriptors() {
    assert!(make(&TrafficConfig::default()).0.iter().all(Wire::is_lossless));
    assert!(!make(&TrafficConfig { flood: true, ..Default::default() }).0.iter().any(Wire::is_lossless));
}

#[test]
fn wrong_configurations_are_told() {
    let clock: Arc<dyn Clock> = ManualClock::new();
    for frame_bytes in [0, 59, MAX_BYTES + 1] {
        let error = pair(&TrafficConfig { frame_bytes, ..Default::default() }, &clock).unwrap_err();
        assert_eq!(error.to_string(), format!("frames of {frame_bytes} bytes: give a size from 60 to 9724 bytes"));
    }
    assert!(pair(&TrafficConfig { rate_pps: Some(0), ..Default::default() }, &clock).unwrap_err().to_string().contains("at least 1"));
}
