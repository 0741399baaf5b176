//! `barewire selftest` on simulated cards: every part, and each defect in the part that looks for it.

mod common;

use common::Directory;
use common::machine::barewire;
use serde_json::{Value, json};

/// The outcome of `selftest --json`: the exit status, and what it printed.
fn selftest(spec: &str, further: &[&str]) -> (Option<i32>, Value) {
    let outcome = barewire(&[&["selftest", spec, "--json"], further].concat());
    (outcome.status, serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}")))
}

fn outcomes(json: &Value) -> Vec<(String, String)> {
    let word = |part: &Value, key: &str| part[key].as_str().unwrap().to_owned();
    json["parts"].as_array().unwrap().iter().map(|part| (word(part, "part"), word(part, "outcome"))).collect()
}

#[test]
fn a_good_card_passes_every_part() {
    let directory = Directory::new("cli-selftest");
    for card in ["82599", "x540", "x550"] {
        let spec = format!("sim:ixgbe,card={card},pcap-out={}", directory.file("out.pcap"));
        let (status, json) = selftest(&spec, &[]);
        assert_eq!((status, &json["device"], &json["good"]), (Some(0), &json!(spec), &json!(true)), "{json}");
        let wanted = ["registers", "eeprom", "interrupts", "loopback", "link"].map(|part| (part.to_owned(), "passed".to_owned()));
        assert_eq!(outcomes(&json), wanted);
    }
    let text = barewire(&["selftest", &format!("sim:ixgbe,pcap-out={}", directory.file("out.pcap"))]).stdout;
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() == 5 && lines[2] == "interrupts  passed  64 vectors fire, each when it is told to and let through", "{text}");
    assert_eq!(std::fs::metadata(directory.file("out.pcap")).unwrap().len(), 24, "no frame leaves the card");
}

#[test]
fn each_defect_is_found_in_its_part() {
    let directory = Directory::new("cli-selftest-defects");
    for (defect, part, kind) in [
        ("register", "registers", "register"),
        ("eeprom", "eeprom", "checksum"),
        ("interrupt", "interrupts", "lost-interrupt"),
        ("loopback", "loopback", "frame-byte"),
    ] {
        let spec = format!("sim:ixgbe,defect={defect},pcap-out={}", directory.file("out.pcap"));
        let (status, json) = selftest(&spec, &[]);
        let failed: Vec<_> = outcomes(&json).into_iter().filter(|(_, outcome)| outcome == "failed").map(|(part, _)| part).collect();
        assert_eq!((status, failed), (Some(1), vec![part.to_owned()]), "{json}");
        let flaws: Vec<_> = json["parts"].as_array().unwrap().iter().filter_map(|part| part.get("flaw")).collect();
        assert!(flaws.len() == 1 && flaws[0]["kind"] == kind, "{flaws:?}");
    }
}

#[test]
fn a_card_without_a_cable_fails_for_its_link_alone() {
    let (status, json) = selftest("sim:ixgbe", &["--wait", "0.05"]);
    let failed: Vec<_> = outcomes(&json).into_iter().filter(|(_, outcome)| outcome == "failed").map(|(part, _)| part).collect();
    assert_eq!((status, failed), (Some(1), vec!["link".to_owned()]), "{json}");
}

#[test]
fn what_a_virtio_card_has_not_is_named() {
    let directory = Directory::new("cli-selftest-virtio");
    let (status, json) = selftest(&format!("sim:virtio-net,pcap-out={}", directory.file("out.pcap")), &[]);
    let words: Vec<_> = outcomes(&json).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!((status, words), (Some(0), ["passed", "absent", "passed", "absent", "passed"].map(String::from).to_vec()), "{json}");
}

#[test]
fn wrong_usage_is_told() {
    assert_eq!(barewire(&["selftest"]).status, Some(2));
    assert_eq!(barewire(&["selftest", "sim:ixgbe", "--wait", "soon"]).status, Some(2));
    let wrong = barewire(&["selftest", "sim:ixgbe,defect=all"]);
    assert!(wrong.status == Some(2) && wrong.stderr.contains("give defect=register|eeprom|interrupt|loopback"), "{wrong:?}");
    let wrong = barewire(&["selftest", "sim:virtio-net,defect=register"]);
    assert!(wrong.status == Some(2) && wrong.stderr.contains("defect is an option of sim:ixgbe"), "{wrong:?}");
    let help = barewire(&["selftest", "--help"]).stdout;
    assert!(help.contains("taken from its link") && help.contains("  defect=register|eeprom|interrupt|loopback "), "{help}");
}
