//! `pktgen` into a capture file.

#[path = "common/captures.rs"]
mod captures;
mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Directory, example, field, run};

fn generate(directory: &Directory, arguments: &[&str]) -> Vec<Vec<u8>> {
    let output = directory.file("out.pcap");
    let outcome = run("pktgen", &[&[format!("sim:ixgbe,mac=02:00:00:00:00:09,pcap-out={output}").as_str()], arguments].concat());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains(" violations=0"), "{}", outcome.stdout);
    let frames = captures::read(&output);
    assert!(outcome.stdout.lines().last().unwrap().starts_with(&format!("sent={} ", frames.len())), "{}", outcome.stdout);
    frames
}

#[test]
fn as_many_and_as_long_as_asked_for() {
    let directory = Directory::new("pktgen");
    for (size, count) in [(60, 3000), (61, 1), (1514, 700), (9724, 500)] {
        let frames = generate(&directory, &["--size", &size.to_string(), "--count", &count.to_string()]);
        assert_eq!(frames.len(), count);
        for (number, frame) in (0u64..).zip(&frames) {
            assert_eq!(frame.len(), size);
            assert_eq!(frame[..14], [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 9, 8, 0]);
            assert_eq!(frame[42..50], number.to_be_bytes());
            assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), size - 14, "IPv4 total length");
            assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), size - 34, "UDP length");
            // RFC 791: the sum over a header with its checksum in place is all ones.
            let sum: u32 = frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }
}

/// A card whose MTU is below Ethernet's own, as in some clouds.
#[test]
fn on_a_card_with_a_small_mtu() {
    let directory = Directory::new("pktgen-small");
    let output = directory.file("out.pcap");
    let card = format!("sim:virtio-net,mtu=1280,pcap-out={output}");
    let outcome = run("pktgen", &[card.as_str(), "--size", "1294", "--count", "9"]);
    assert_eq!((outcome.status, captures::read(&output).len()), (Some(0), 9), "{outcome:?}");
    let outcome = run("pktgen", &[card.as_str(), "--size", "1295", "--count", "9"]);
    assert!(outcome.status == Some(2) && outcome.stderr.contains("a frame of 1295 bytes is longer than"), "{outcome:?}");
}

#[test]
fn at_the_rate_asked_for() {
    let directory = Directory::new("pktgen-rate");
    let start = Instant::now();
    let frames = generate(&directory, &["--rate", "1000", "--count", "501", "--to", "02:00:00:00:00:aa"]);
    assert!(start.elapsed().as_secs_f64() >= 0.5, "500 intervals of a millisecond took {:?}", start.elapsed());
    assert_eq!(frames.len(), 501);
    assert_eq!(frames[0][..6], [2, 0, 0, 0, 0, 0xaa]);
}

/// From one frame a second on. Where the machine is busy it is slower, never faster: the best of several runs counts.
#[test]
fn rates_are_right_within_one_percent() {
    let directory = Directory::new("pktgen-rates");
    let file = directory.file("out.pcapng");
    for (rate, seconds) in [(1u64, 3u64), (10, 2), (1000, 2), (20_000, 2)] {
        let (count, intervals) = (rate * seconds + 1, (rate * seconds) as f64);
        let measured: Vec<f64> = (0..5)
            .map(|_| {
                let arguments = ["--rate", &rate.to_string(), "--count", &count.to_string()];
                let outcome = run("pktgen", &[&[format!("sim:ixgbe,pcap-out={file}").as_str()], &arguments[..]].concat());
                assert_eq!(outcome.status, Some(0), "{outcome:?}");
                let times = captures::times(&file);
                assert_eq!(times.len() as u64, count);
                intervals / (*times.last().unwrap() - times[0]).as_secs_f64()
            })
            // As soon as one is good no more are made.
            .scan(false, |good, found| (!std::mem::replace(good, is_within_one_percent(found, rate))).then_some(found))
            .collect();
        let best = measured.iter().copied().fold(0.0, f64::max);
        assert!(is_within_one_percent(best, rate), "{rate} a second asked for: {measured:?}");
    }
}

fn is_within_one_percent(found: f64, rate: u64) -> bool {
    (found / rate as f64 - 1.0).abs() < 0.01
}

#[test]
fn what_it_could_not_send_while_it_was_stopped_does_not_come_at_once() {
    let directory = Directory::new("pktgen-stopped");
    let output = directory.file("out.pcap");
    let mut child = example("pktgen").args([&format!("sim:ixgbe,pcap-out={output}"), "--rate", "1000"]).stdout(Stdio::piped()).spawn().unwrap();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    signal("-STOP");
    std::thread::sleep(Duration::from_millis(1500));
    signal("-CONT");
    std::thread::sleep(Duration::from_millis(500));
    signal("-INT");
    let ran = start.elapsed() - Duration::from_millis(1500);
    let said = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    // What is a tenth of a second late is made up for.
    let most = ran.as_millis() as u64 + 200;
    let sent = field(&said, "sent");
    assert!((100..=most).contains(&sent), "{sent} frames in {ran:?} at 1000 a second");
}

#[test]
fn a_transmitter_that_hangs_is_told_without_a_count() {
    let directory = Directory::new("pktgen-hang");
    // One frame a minute.
    let spec = |card: &str| format!("{card},pcap-out={},slow-us=60000000", directory.file("out.pcap"));
    // It is set up anew, and hangs again; whoever looks on ends it.
    for card in ["sim:ixgbe", "sim:virtio-net"] {
        let mut child = example("pktgen").args([&spec(card), "--rate", "1000"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let resets = lines.by_ref().filter(|line| line.contains("transmit queue 0 hung: it will be reset and set up as it was")).take(2).count();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
        let told: Vec<_> = lines.collect();
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!((resets, output.status.code()), (2, Some(1)), "{card}: {told:?} {stdout}");
    }
}

#[test]
fn without_descriptors_left_it_says_so() {
    for (limit, spec) in [(5, "sim:ixgbe"), (5, "sim:virtio-net"), (6, "sim:ixgbe"), (6, "sim:virtio-net")] {
        let pktgen = example("pktgen").get_program().to_str().unwrap().to_owned();
        let output = Command::new("sh").args(["-c", &format!("ulimit -n {limit}; exec {pktgen} {spec} --count 1")]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{limit} {spec}: {stderr}");
        assert!(stderr.contains("Too many open files") && stderr.contains("ulimit -n"), "{limit} {spec}: {stderr}");
    }
}
