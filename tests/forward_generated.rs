//! `forward` without devices: two simulated cards, generators and checkers.

mod common;

use std::collections::HashMap;

use common::{Outcome, field, run};

/// The fields of the last line.
fn result(outcome: &Outcome) -> HashMap<&str, &str> {
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let last = outcome.stdout.lines().last().unwrap();
    let fields: HashMap<_, _> = last.split(' ').map(|field| field.split_once('=').unwrap()).collect();
    assert_eq!([fields["lost"], fields["corrupted"], fields["reordered"], fields["missed"]], ["0"; 4], "{last}");
    assert_eq!(outcome.stdout.matches("violations=0").count(), 2, "{}", outcome.stdout);
    fields
}

fn forward(arguments: &[&str]) {
    for threads in [&[][..], &["--threads"]] {
        let outcome = run("forward", &[&["--seconds", "1"], arguments, threads].concat());
        let fields = result(&outcome);
        assert!(fields["forwarded"].parse::<u64>().unwrap() > 100, "{fields:?}");
        assert!(fields["mpps"].parse::<f64>().unwrap() > 0.0, "{fields:?}");
        assert!(outcome.stdout.contains("t=1 sim:ixgbe"), "a line a second where stdout is no terminal: {}", outcome.stdout);
    }
}

#[test]
fn the_shortest_frames() {
    forward(&[]);
}

#[test]
fn jumbo_frames_of_several_buffers() {
    forward(&["--size", "9018"]);
}

#[test]
fn one_frame_at_a_time() {
    forward(&["--batch", "1"]);
}

/// What it prints but for rates, which are of the machine's time.
fn counters(arguments: &[&str]) -> Vec<String> {
    let outcome = run("forward", &[&["--count", "300000"], arguments].concat());
    assert_eq!(result(&outcome)["forwarded"], "600000");
    let lines = outcome.stdout.lines().filter(|line| !line.starts_with("t="));
    lines.map(|line| line.split(' ').filter(|field| !field.starts_with("mpps=")).collect::<Vec<_>>().join(" ")).collect()
}

/// Nothing is lost, so that the frames' counters are the same in any case: how long it took in simulated time, every turn of a card tells.
#[test]
fn so_many_frames_the_same_each_time() {
    let runs = [&[][..], &["--seed", "1"], &["--seed", "2"], &["--seed", "2", "--batch", "64"]].map(|arguments| {
        let first = counters(arguments);
        assert!(first.iter().any(|line| line.contains(" simulated_us=")), "{first:?}");
        assert_eq!(counters(arguments), first);
        first
    });
    assert_ne!(runs[1].last(), runs[2].last(), "another seed is another run");
    assert!(!counters(&["--threads"]).concat().contains("simulated_us="), "threads take the machine's time");
}

/// What each queue of a card received and sent.
fn queues(outcome: &Outcome, card: usize) -> Vec<[u64; 2]> {
    let name = format!("sim:ixgbe,mac=02:00:00:00:00:0{}: queue=", card + 1);
    let lines = outcome.stdout.lines().filter(|line| line.starts_with(&name));
    lines.map(|line| ["rx_packets", "tx_packets"].map(|counter| field(line, counter))).collect()
}

/// Frames of many flows, spread over the queues by the cards; each flow's order is checked at the far end.
#[test]
fn many_queues_each_with_a_thread() {
    for (count, spread) in [(2, 2), (5, 5), (20, 16)] {
        let outcome = run("forward", &["--queues", &count.to_string(), "--count", "20000"]);
        let fields = result(&outcome);
        assert_eq!(fields["forwarded"], "40000");
        assert!(!fields.contains_key("simulated_us"), "threads take the machine's time");
        for card in [0, 1] {
            let queues = queues(&outcome, card);
            assert_eq!((queues.len(), queues.iter().filter(|[rx, tx]| *rx > 0 && *tx > 0).count()), (count, spread), "{queues:?}");
            assert_eq!([0, 1].map(|way| queues.iter().map(|counters| counters[way]).sum::<u64>()), [20_000; 2]);
        }
        let told = outcome.stderr.contains("RSS reaches 16 receive queues of this device: the other 4 get no frame by it");
        assert_eq!(told, count > 16, "{}", outcome.stderr);
    }
}

#[test]
fn many_queues_for_as_long_as_it_is_told() {
    let outcome = run("forward", &["--queues", "3", "--seconds", "1", "--size", "9018", "--flows", "100", "--batch", "8"]);
    assert!(result(&outcome)["forwarded"].parse::<u64>().unwrap() > 100, "{outcome:?}");
    assert!(outcome.stdout.contains("t=1 sim:ixgbe"), "{}", outcome.stdout);
    assert_eq!(queues(&outcome, 1).len(), 3);
}

/// All of one flow are one queue's, and a thread alone may have many flows too.
#[test]
fn flows_decide_which_queues_work() {
    let outcome = run("forward", &["--queues", "4", "--count", "5000", "--flows", "1"]);
    assert_eq!(result(&outcome)["forwarded"], "10000");
    let mut received: Vec<_> = queues(&outcome, 0).iter().map(|[rx, _]| *rx).collect();
    received.sort_unstable();
    assert_eq!(received, [0, 0, 0, 5000]);
    let outcome = run("forward", &["--count", "5000", "--flows", "40", "--seed", "3"]);
    assert_eq!(result(&outcome)["forwarded"], "10000");
    assert!(queues(&outcome, 0).is_empty() && outcome.stdout.contains("simulated_us="), "{outcome:?}");
}

#[test]
fn queues_that_cannot_be_are_told() {
    for (arguments, status, why) in [
        (&["--queues", "65"][..], 2, "65 is not in 1..=64"),
        (&["--queues", "2", "--seed", "1"], 2, "cannot be used with"),
        (&["--queues", "2", "sim:virtio-net", "sim:virtio-net"], 1, "starting: 2 receive queues asked for: take 1 to 1"),
    ] {
        let outcome = run("forward", arguments);
        assert_eq!(outcome.status, Some(status), "{outcome:?}");
        assert!(outcome.stderr.contains(why), "{outcome:?}");
    }
}
