//! `bounce` and `firewall`: frames judged where the card put them, on both kinds of cards.

#[path = "common/captures.rs"]
mod captures;
mod common;
#[path = "../examples/firewall/rules.rs"]
mod rules;

use common::{Directory, field, run};
use rules::{Headers, Rule};

const CARDS: [&str; 2] = ["sim:ixgbe", "sim:virtio-net"];

#[test]
fn bounce_sends_every_frame_back_to_where_it_came_from() {
    for card in CARDS {
        let directory = Directory::new("bounce");
        let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
        let frames = captures::frames();
        captures::write(&input, &frames);
        for batch in ["1", "32", "77"] {
            let outcome = run("bounce", &[&format!("{card},pcap-in={input},pcap-out={output}"), "--batch", batch]);
            assert_eq!(outcome.status, Some(0), "{outcome:?}");
            assert_eq!(outcome.stdout.lines().last(), Some(&*format!("bounced={} dropped=0 lost=0", frames.len())));
            let found = captures::read(&output);
            assert_eq!(found.len(), frames.len());
            for (index, (found, sent)) in found.iter().zip(&frames).enumerate() {
                let mut wanted = captures::padded(sent);
                wanted[..12].rotate_left(6);
                assert!(*found == wanted, "{card} --batch {batch}: frame {index} of {} bytes came back otherwise", sent.len());
            }
        }
    }
}

/// A frame of IPv4 with these addresses, or of IPv6 with zeros between the first and the last byte of each.
fn packet(protocol: u8, from: [u8; 4], to: [u8; 4], ports: [u16; 2], tags: usize) -> Vec<u8> {
    let mut frame = vec![2; 12];
    (0..tags).for_each(|_| frame.extend([0x81, 0, 0, 5]));
    frame.extend([8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, protocol, 0, 0]);
    frame.extend(from.iter().chain(&to));
    ports.iter().for_each(|port| frame.extend(port.to_be_bytes()));
    frame.resize(70, 7);
    frame
}

fn arp() -> Vec<u8> {
    let mut frame = vec![0xff; 12];
    frame.extend([8, 6]);
    frame.resize(60, 1);
    frame
}

#[test]
fn firewall_passes_what_its_rules_say_and_counts_what_they_met() {
    for card in CARDS {
        let directory = Directory::new("firewall");
        let (input, output, file) = (directory.file("in.pcap"), directory.file("out.pcap"), directory.file("rules"));
        let (near, far) = ([10, 1, 2, 3], [192, 168, 0, 1]);
        let kinds = [packet(17, near, far, [4000, 53], 0), packet(6, near, far, [4000, 443], 0), packet(6, far, near, [443, 22], 1), arp()];
        let mut frames = Vec::new();
        for number in 0..500 {
            let mut frame = kinds[number * number % 4 + number % 3 % 2].clone();
            if let [.., a, b] = &mut *frame {
                (*a, *b) = ((number >> 8) as u8, number as u8);
            }
            frames.push(frame);
        }
        captures::write(&input, &frames);
        std::fs::write(&file, "# names are resolved elsewhere\ndrop udp dport 53\n\npass tcp src 10.0.0.0/8   # ours\n").unwrap();
        let arguments =
            [&*format!("{card},pcap-in={input}"), &format!("{card},pcap-out={output}"), "--rules", &file, "--rule", "drop tcp", "--other", "pass"];
        let outcome = run("firewall", &arguments);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        let passes = |frame: &&Vec<u8>| {
            let is = |kind: &[u8]| frame[..60] == kind[..60];
            is(&kinds[1]) || is(&kinds[3])
        };
        let wanted: Vec<_> = frames.iter().filter(passes).map(|frame| captures::padded(frame)).collect();
        assert_eq!(captures::read(&output), wanted);
        let count = |at: usize| frames.iter().filter(|frame| frame[..60] == kinds[at][..60]).count();
        for (number, (at, verdict)) in (1..).zip([(0, "drop"), (1, "pass"), (2, "drop")]) {
            let line = format!("rule={number} verdict={verdict} frames={}", count(at));
            assert!(outcome.stdout.lines().any(|said| said == line), "{line} is not in {}", outcome.stdout);
        }
        assert_eq!(field(&outcome.stdout, "passed"), wanted.len() as u64);
        assert_eq!(field(&outcome.stdout, "dropped"), (count(0) + count(2)) as u64);
        assert_eq!((field(&outcome.stdout, "lost"), field(&outcome.stdout, "other")), (0, count(3) as u64));
    }
}

#[test]
fn a_firewall_lets_jumbo_frames_in_several_buffers_pass_or_not_as_well() {
    let directory = Directory::new("firewall-jumbo");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    let mut frames = Vec::new();
    for number in 0..60_u8 {
        let mut frame = packet(if number % 2 == 0 { 6 } else { 17 }, [10, 0, 0, 1], [10, 0, 0, 2], [1, 2], 0);
        frame.resize(if number % 3 == 0 { 9000 } else { 2500 }, number);
        frames.push(frame);
    }
    captures::write(&input, &frames);
    let outcome = run("firewall", &[&format!("sim:ixgbe,pcap-in={input}"), &format!("sim:ixgbe,pcap-out={output}"), "--rule", "drop udp"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let wanted: Vec<_> = frames.iter().step_by(2).cloned().collect();
    assert!(captures::read(&output) == wanted, "{outcome:?}");
}

#[test]
fn a_wrong_rule_is_told_with_what_would_be_right() {
    for (rule, text) in [
        ("", "nothing is said"),
        ("deny tcp", "`deny` is neither"),
        ("drop tcp port", "`port` lacks its value"),
        ("drop port 65536", "`65536` is no port from 0 to 65535"),
        ("pass src 10.0.0.0/33", "10.0.0.0/33 is no prefix such as"),
        ("pass src fd00::/129", "fd00::/129 is no prefix such as"),
        ("pass src 10.0.0/8", "10.0.0/8 is no prefix such as"),
        ("drop sctp", "`sctp` is not known"),
    ] {
        let error = rule.parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains(text) && error.contains("a rule is `drop` or `pass`"), "{error}");
        let outcome = run("firewall", &["sim:ixgbe", "sim:ixgbe", "--rule", rule]);
        assert_eq!(outcome.status, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(text), "{outcome:?}");
    }
    let error = rules::parse("pass\n# all\n\ndrop nothing").unwrap_err().to_string();
    assert!(error.starts_with("line 4: `nothing` is not known"), "{error}");
}

#[test]
fn rules_look_behind_tags_and_options_and_at_no_port_of_a_later_fragment() {
    let is_of = |rule: &str, frame: &[u8]| rule.parse::<Rule>().unwrap().is_of(&Headers::of(frame));
    let frame = packet(17, [10, 1, 1, 1], [10, 2, 2, 2], [5, 53], 2);
    for rule in [
        "drop",
        "drop ip",
        "drop udp",
        "drop udp sport 5 dport 53",
        "drop port 5",
        "drop port 53",
        "drop src 10.1.1.1 dst 10.2.0.0/15",
        "drop src 0.0.0.0/0",
    ] {
        assert!(is_of(rule, &frame), "{rule}");
    }
    for rule in ["drop tcp", "drop ip6", "drop arp", "drop dport 5", "drop port 7", "drop src 10.2.0.0/16", "drop src ::/0"] {
        assert!(!is_of(rule, &frame), "{rule}");
    }
    let mut options = packet(17, [1; 4], [2; 4], [0, 0], 0);
    options[14] = 0x46;
    options[38..42].copy_from_slice(&[0, 9, 0, 10]);
    assert!(is_of("drop udp sport 9 dport 10", &options) && !is_of("drop udp sport 0", &options));
    let mut fragment = packet(17, [1; 4], [2; 4], [5, 53], 0);
    fragment[21] = 1;
    assert!(is_of("drop udp", &fragment) && !is_of("drop port 53", &fragment));
    // IPv6 with hop-by-hop options, then as a first and as a later fragment.
    let mut frame = vec![2; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 0, 64]);
    frame.extend([0xfd; 16].iter().chain(&[0xfe; 16]));
    frame.extend([44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 9, 0, 22, 0, 80, 0, 0, 0, 0]);
    assert!(is_of("drop tcp src fd00::/8 dst fe00::/7 sport 22 dport 80", &frame));
    frame[65] = 9;
    assert!(is_of("drop tcp", &frame) && !is_of("drop port 22", &frame));
    // What is cut off is not there, wherever that is.
    for len in 0..frame.len() {
        assert!(!is_of("drop port 22", &frame[..len]));
    }
}
