//! `pipeline`: three threads, order kept, nothing lost inside, however slow the last of them is.

#[path = "common/captures.rs"]
mod captures;
mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Directory, example, field, run};

fn generated(arguments: &[&str]) {
    let outcome = run("pipeline", &[&["--seconds", "1"], arguments].concat());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let last = outcome.stdout.lines().last().unwrap();
    assert!(field(last, "forwarded") > 100, "{last}");
    assert_eq!(["lost", "corrupted", "reordered", "refused", "missed"].map(|key| field(last, key)), [0; 5], "{last}");
    assert_eq!(field(&outcome.stdout, "other"), field(last, "forwarded"), "the second thread has seen each: {}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("violations=0").count(), 2, "{}", outcome.stdout);
}

#[test]
fn what_is_generated_arrives_in_order() {
    generated(&[]);
}

#[test]
fn jumbo_frames_of_several_buffers() {
    generated(&["--size", "9018"]);
}

#[test]
fn one_batch_of_one_frame_goes_round() {
    generated(&["--batch", "1", "--batches", "1"]);
}

/// Batches that could hold more buffers than the pool has.
#[test]
fn more_batches_than_buffers() {
    generated(&["--batch", "64", "--batches", "1024"]);
}

/// The far end takes one frame in 200 us: more wait than both rings, the packet buffer and the batches hold together.
#[test]
fn a_slow_transmitter_holds_the_receiver_back() {
    let directory = Directory::new("pipeline-slow");
    let frames: Vec<_> = (0..4000).map(|number| captures::frame(1514, number)).collect();
    captures::write(&directory.file("in.pcap"), &frames);
    for card in ["sim:ixgbe", "sim:virtio-net"] {
        let (input, output) = (directory.file("in.pcap"), directory.file(&format!("{}.pcap", &card[4..])));
        let outcome = run("pipeline", &[&format!("{card},pcap-in={input}"), &format!("{card},pcap-out={output},slow-us=200"), "--batches", "4"]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        assert!(captures::read(&output) == frames, "{card}: every frame, in order, byte for byte");
        assert!(outcome.stdout.lines().last().unwrap().starts_with("forwarded=4000 lost=0 refused=0 "), "{outcome:?}");
    }
}

#[test]
fn what_never_leaves_the_card_is_lost() {
    let directory = Directory::new("pipeline-stuck");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    // More than the ring takes, one frame a minute.
    captures::write(&input, &(0..2000).map(|number| captures::frame(60, number)).collect::<Vec<_>>());
    let arguments = [&format!("sim:ixgbe,pcap-in={input}"), &format!("sim:ixgbe,pcap-out={output},slow-us=60000000"), "--seconds", "1"];
    let outcome = run("pipeline", &arguments);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    let last = outcome.stdout.lines().last().unwrap();
    assert!(field(last, "forwarded") == 1 && field(last, "lost") > 500, "{last}");
}

#[test]
fn an_interrupt_ends_it_with_nothing_lost() {
    let child = example("pipeline").args(["--seconds", "60"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout} {}", String::from_utf8_lossy(&output.stderr));
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(field(&stdout, "lost") == 0 && field(&stdout, "reordered") == 0 && field(&stdout, "forwarded") > 0, "{stdout}");
}

/// The last stage finds it out; the card is set up anew, the others wait meanwhile, and what was on its way is counted.
#[test]
fn a_transmitter_that_hangs_costs_what_was_on_its_way_and_the_run_goes_on() {
    let directory = Directory::new("pipeline-hung");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    captures::write(&input, &(0..4000).map(|number| captures::frame(60, number)).collect::<Vec<_>>());
    let outcome =
        run("pipeline", &[&format!("sim:ixgbe,pcap-in={input}"), &format!("sim:ixgbe,hang-tx=after:100,pcap-out={output}"), "--seconds", "60"]);
    assert_eq!(outcome.status, Some(1), "frames were lost: {outcome:?}");
    assert!(outcome.stderr.contains("transmit queue 0 hung: it will be reset and set up as it was"), "{outcome:?}");
    let [forwarded, lost] = ["forwarded", "lost"].map(|name| field(outcome.stdout.lines().last().unwrap(), name));
    // Those that the ring held; the wire has all others.
    assert!(forwarded + lost == 4000 && (1..=511).contains(&lost), "{outcome:?}");
    assert_eq!(captures::read(&output).len() as u64, forwarded);
}
