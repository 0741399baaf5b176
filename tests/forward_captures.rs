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
