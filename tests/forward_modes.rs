//! `forward --mode`: the same frames arrive, however their threads wait for them; what that takes is told.

#[path = "common/captures.rs"]
mod captures;
mod common;

use std::collections::HashMap;

use common::{Directory, run};

/// The fields of the line about the mode, and of the last one.
fn forward(mode: &str, more: &[&str]) -> [HashMap<String, String>; 2] {
    let outcome = run("forward", &[&["--mode", mode, "--seconds", "1"], more].concat());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let lines = || outcome.stdout.lines().rev();
    let told = [lines().find(|line| line.starts_with("mode=")), lines().next()];
    told.map(|line| line.unwrap().split(' ').filter_map(|field| field.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect())
}

fn number<T: std::str::FromStr>(fields: &HashMap<String, String>, name: &str) -> T {
    fields[name].parse().unwrap_or_else(|_| panic!("{name} in {fields:?}"))
}

#[test]
fn every_mode_forwards_all_and_tells_what_it_took() {
    for mode in ["poll", "interrupt", "adaptive"] {
        for more in [&[][..], &["--queues", "2", "--rate", "20000"], &["--size", "9018", "--rate", "2000"]] {
            let [took, end] = forward(mode, more);
            assert_eq!((took["mode"].as_str(), end["lost"].as_str(), end["reordered"].as_str()), (mode, "0", "0"), "{more:?}");
            assert!(number::<u64>(&end, "forwarded") > 100, "{end:?}");
            let times = ["min", "p50", "p99", "max"].map(|part| number::<u64>(&took, part));
            assert!(times.is_sorted() && times[3] > 0, "{took:?}");
            assert!(number::<f64>(&took, "cpu") > 0.0 && number::<u64>(&took, "polls") > 0, "{took:?}");
        }
    }
}

#[test]
fn who_sleeps_polls_less_and_leaves_most_of_a_processor() {
    let [polled, slept, adapted] = ["poll", "interrupt", "adaptive"].map(|mode| forward(mode, &["--rate", "500"])[0].clone());
    assert_eq!(number::<u64>(&polled, "sleeps"), 0);
    // Of a processor; how much of one a polling thread gets depends on who else wants it.
    assert!(number::<f64>(&slept, "cpu") < 0.5 && number::<f64>(&adapted, "cpu") < 0.5, "{slept:?} {adapted:?}");
    assert!(number::<u64>(&polled, "polls") > number::<u64>(&slept, "polls"), "{polled:?} {slept:?}");
    // Two directions of 500 frames: each is slept for, or came with another.
    assert!((100..4_000).contains(&number::<u64>(&slept, "sleeps")), "{slept:?}");
    assert!(number::<u64>(&adapted, "polls") > number::<u64>(&slept, "polls"), "{adapted:?}");
}

#[test]
fn between_captures_there_is_no_latency_to_tell() {
    let directory = Directory::new("forward-modes");
    captures::write(&directory.file("in.pcap"), &[vec![7; 100], vec![8; 60]]);
    let (input, output) = (format!("sim:ixgbe,pcap-in={}", directory.file("in.pcap")), format!("sim:ixgbe,pcap-out={}", directory.file("out.pcap")));
    let outcome = run("forward", &["--mode", "interrupt", "--seconds", "5", &input, &output]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("latency_us min=unknown p50=unknown") && outcome.stdout.contains("forwarded=2 lost=0"), "{}", outcome.stdout);
}
