//! `forward` from a capture file to a capture file: every frame, in order, byte for byte; it ends by itself.

#[path = "common/captures.rs"]
mod captures;
mod common;

use common::{Directory, Flood, field, run};

fn forward(directory: &Directory, input: &str, output: &str) {
    forward_on("sim:ixgbe", directory, input, output);
}

fn forward_on(card: &str, directory: &Directory, input: &str, output: &str) {
    let (input, output) = (directory.file(input), directory.file(output));
    let outcome = run("forward", &[&format!("{card},pcap-in={input}"), &format!("{card},pcap-out={output}")]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let wanted: Vec<_> = captures::read(&input).iter().map(|frame| captures::padded(frame)).collect();
    let found = captures::read(&output);
    assert_eq!(found.len(), wanted.len());
    for (index, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert!(found == wanted, "frame {index} of {} bytes came out with {} bytes, and otherwise", wanted.len(), found.len());
    }
    let last = outcome.stdout.lines().last().unwrap();
    // A virtio device does not tell what it missed.
    let missed = if card.starts_with("sim:virtio-net") { "unknown" } else { "0" };
    assert!(last.starts_with(&format!("forwarded={} lost=0 refused=0 missed={missed} mpps=", wanted.len())), "{last}");
}

#[test]
fn every_format_into_every_format() {
    let directory = Directory::new("forward-captures");
    for input in ["in.pcap", "in.pcapng"] {
        captures::write(&directory.file(input), &captures::frames());
        for output in ["out.pcap", "out.pcapng"] {
            forward(&directory, input, output);
        }
    }
}

#[test]
fn on_virtio_cards() {
    let directory = Directory::new("forward-virtio");
    captures::write(&directory.file("in.pcap"), &captures::frames());
    forward_on("sim:virtio-net", &directory, "in.pcap", "out.pcap");
}

/// A frame of UDP or TCP over IPv4 or IPv6, with `len` bytes of payload, and the right checksum.
fn datagram(is_ipv6: bool, protocol: u8, len: usize, salt: u32) -> Vec<u8> {
    let sum = |bytes: &[u8]| {
        let sum: u64 = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum();
        0xffff - (sum % 0xffff) as u16
    };
    let body = &captures::frame(14 + len, salt)[14..];
    let (header, place) = match protocol {
        6 => ([&[0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0][..], &[0; 4]].concat(), 16),
        _ => ([&[0x9c, 0x40, 0, 7][..], &(8 + len as u16).to_be_bytes(), &[0; 2]].concat(), 6),
    };
    let mut transport = [&header, body].concat();
    let length = transport.len() as u16;
    let addresses: Vec<u8> = (0..if is_ipv6 { 32 } else { 8 }).map(|n| n + salt as u8 % 100).collect();
    let covered = [&addresses[..], &[0, protocol], &length.to_be_bytes(), &transport].concat();
    transport[place..place + 2].copy_from_slice(&sum(&covered).to_be_bytes());
    let network = if is_ipv6 {
        [&[0x86, 0xdd, 0x60, 0, 0, 0][..], &length.to_be_bytes(), &[protocol, 64], &addresses].concat()
    } else {
        let mut header = [&[0x45, 0][..], &(20 + length).to_be_bytes(), &[0, 1, 0x40, 0, 64, protocol, 0, 0], &addresses].concat();
        let checksum = sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        [&[0x08, 0x00][..], &header].concat()
    };
    [&[2; 12][..], &network, &transport].concat()
}

/// What a kernel sends to its own tap has checksums that the card is to fill in. A card that cannot (as the driver of the 82599 uses it) and one that can
/// send it on alike: each byte is as if it had been filled in at once.
#[test]
fn checksums_that_arrive_to_be_filled_in_leave_filled_in() {
    let directory = Directory::new("forward-partial");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    let kinds = [(false, 6), (false, 17), (true, 6), (true, 17)];
    let lengths = [0, 1, 2, 3, 17, 18, 19, 500, 501, 1000, 1001, 1439, 1440];
    let mut frames: Vec<_> = kinds.iter().flat_map(|&(is_ipv6, protocol)| lengths.map(|len| datagram(is_ipv6, protocol, len, len as u32))).collect();
    // A checksum that was wrong stays wrong.
    let mut wrong = datagram(false, 17, 100, 9);
    wrong[60] ^= 1;
    frames.push(wrong);
    captures::write(&input, &frames);
    for to in ["sim:ixgbe", "sim:virtio-net"] {
        let outcome = run("forward", &[&format!("sim:virtio-net,rx-checksum=local,pcap-in={input}"), &format!("{to},pcap-out={output}")]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        let wanted: Vec<_> = frames.iter().map(|frame| captures::padded(frame)).collect();
        assert!(captures::read(&output) == wanted, "{to}: {outcome:?}");
        assert!(outcome.stdout.contains(&format!("forwarded={} lost=0 refused=0 ", frames.len())), "{outcome:?}");
    }
}

/// With several queues each flow keeps its order, and the end is found although frames of one queue may wait for those of another.
#[test]
fn many_queues_keep_each_flows_order_and_find_the_end() {
    let directory = Directory::new("forward-queues");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    let frames: Vec<_> = (0..6000u32).map(|number| datagram(number % 2 == 0, 17, 20 + number as usize % 900, number * 7 % 90)).collect();
    captures::write(&input, &frames);
    for card in ["sim:ixgbe", "sim:ixgbe,card=x550"] {
        let outcome = run("forward", &["--queues", "6", &format!("{card},pcap-in={input}"), &format!("{card},pcap-out={output}")]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        assert!(outcome.stdout.contains("forwarded=6000 lost=0 refused=0 missed=0 "), "{outcome:?}");
        let by_flow = |frames: Vec<Vec<u8>>| {
            let mut flows = std::collections::BTreeMap::<_, Vec<_>>::new();
            for frame in frames {
                let addresses = if frame[12] == 0x86 { 22..54 } else { 26..34 };
                flows.entry(frame[addresses].to_vec()).or_default().push(frame);
            }
            flows
        };
        let (found, wanted) = (by_flow(captures::read(&output)), by_flow(frames.iter().map(|frame| captures::padded(frame)).collect()));
        assert!(found == wanted && found.len() > 50, "{card}: {} flows came, of {}", found.len(), wanted.len());
    }
}

#[test]
fn a_capture_without_frames() {
    let directory = Directory::new("forward-empty");
    captures::write(&directory.file("in.pcap"), &[]);
    forward(&directory, "in.pcap", "out.pcap");
}

#[test]
fn more_frames_than_any_ring_holds_both_ways() {
    let directory = Directory::new("forward-both");
    let made: [Vec<_>; 2] = [1, 2].map(|salt| (0..5000u32).map(|n| captures::frame(60 + n as usize % 1455, n * salt)).collect());
    let spec = |n: usize| {
        let (input, output) = (directory.file(&format!("in{n}.pcap")), directory.file(&format!("out{n}.pcap")));
        captures::write(&input, &made[n]);
        format!("sim:ixgbe,pcap-in={input},pcap-out={output}")
    };
    let outcome = run("forward", &[&spec(0), &spec(1)]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(captures::read(&directory.file("out0.pcap")) == made[1] && captures::read(&directory.file("out1.pcap")) == made[0]);
}

#[test]
fn a_slow_wire_loses_nothing() {
    let directory = Directory::new("forward-slow");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    // More than both rings, the packet buffer and the batch hold together.
    let frames: Vec<_> = (0..4000).map(|number| captures::frame(1514, number)).collect();
    captures::write(&input, &frames);
    let outcome = run("forward", &[&format!("sim:ixgbe,pcap-in={input}"), &format!("sim:ixgbe,pcap-out={output},slow-us=200")]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(captures::read(&output) == frames);
}

#[test]
fn what_never_leaves_the_card_is_lost() {
    let directory = Directory::new("forward-stuck");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    captures::write(&input, &[1, 2, 3].map(|number| captures::frame(60, number)));
    // One frame a minute.
    let outcome = run("forward", &[&format!("sim:ixgbe,pcap-in={input}"), &format!("sim:ixgbe,pcap-out={output},slow-us=60000000")]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.stdout.lines().last().unwrap().starts_with("forwarded=1 lost=2 refused=0 missed=0 "), "{outcome:?}");
}

#[test]
fn at_the_end_of_its_time_all_that_the_card_received_is_forwarded() {
    let directory = Directory::new("forward-flood");
    let flood = Flood::start(&directory, captures::frame(1000, 0));
    let output = directory.file("out.pcap");
    let outcome = run("forward", &[&format!("sim:ixgbe,{}", flood.wire), &format!("sim:ixgbe,pcap-out={output}"), "--seconds", "0.3"]);
    let [a, _, last] = outcome.stdout.lines().rev().take(3).collect::<Vec<_>>().try_into().map(|[last, b, a]: [&str; 3]| [a, b, last]).unwrap();
    let forwarded = field(last, "forwarded");
    assert!(forwarded > 0 && outcome.stderr.is_empty(), "{outcome:?}");
    assert_eq!((field(a, "rx_packets"), captures::read(&output).len() as u64), (forwarded, forwarded), "{outcome:?}");
    assert_eq!((field(last, "lost"), field(last, "missed")), (0, field(a, "rx_missed_errors")), "{outcome:?}");
    assert_eq!(outcome.status, Some(i32::from(field(last, "missed") > 0)), "what a card missed is in the status: {outcome:?}");
}

#[test]
fn frames_that_are_refused_are_told_once_and_counted() {
    let directory = Directory::new("forward-refused");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    // A virtio card has no filter for frames that are long only because they could have a VLAN tag and have none.
    let frames: Vec<_> = (0..300).map(|number| captures::frame(if number % 3 == 0 { 1518 } else { 1514 }, number)).collect();
    captures::write(&input, &frames);
    let outcome = run("forward", &[&format!("sim:virtio-net,pcap-in={input}"), &format!("sim:ixgbe,pcap-out={output}"), "--mtu", "1500"]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.stdout.lines().last().unwrap().starts_with("forwarded=200 lost=0 refused=100 missed=unknown "), "{outcome:?}");
    assert!(outcome.stderr.lines().count() == 1 && outcome.stderr.contains("1518 bytes is longer than the MTU allows"), "{}", outcome.stderr);
    assert!(captures::read(&output).iter().all(|frame| frame.len() == 1514));
}
