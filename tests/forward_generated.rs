//! `forward` without devices: two simulated cards, generators and checkers.

mod common;

use std::collections::HashMap;

use common::run;

fn forward(arguments: &[&str]) {
    let outcome = run("forward", &[&["--seconds", "1"], arguments].concat());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let last = outcome.stdout.lines().last().unwrap();
    let fields: HashMap<_, _> = last.split(' ').map(|field| field.split_once('=').unwrap()).collect();
    assert!(fields["forwarded"].parse::<u64>().unwrap() > 100, "{last}");
    assert_eq!([fields["lost"], fields["corrupted"], fields["reordered"], fields["missed"]], ["0"; 4], "{last}");
    assert!(fields["mpps"].parse::<f64>().unwrap() > 0.0, "{last}");
    assert_eq!(outcome.stdout.matches("violations=0").count(), 2, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("t=1 sim:ixgbe"), "a line a second where stdout is no terminal: {}", outcome.stdout);
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
