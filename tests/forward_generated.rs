//! `forward` without devices: two simulated cards, generators and checkers.

mod common;

use std::collections::HashMap;

use common::{Outcome, run};

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
