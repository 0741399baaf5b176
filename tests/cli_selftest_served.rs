//! `barewire selftest`, `dump`, `stats`, `eeprom` and `info` of a card that another process serves at a vfio-user socket.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Directory;
use common::machine::barewire;
use serde_json::{Value, json};

/// The tool that serves the card, ended in any case.
struct Server(Child);

impl Server {
    fn new(device: &str, directory: &Directory) -> (Self, String) {
        let (socket, wire) = (directory.file("nic.sock"), format!("pcap-out={}", directory.file("out.pcap")));
        let arguments = ["sim", "--device", device, "--socket", &socket, "--wire", &wire];
        let child = Command::new(env!("CARGO_BIN_EXE_barewire")).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (server, deadline) = (Self(child), Instant::now() + Duration::from_secs(20));
        while !Path::new(&socket).exists() {
            assert!(Instant::now() < deadline, "no socket");
            std::thread::sleep(Duration::from_millis(5));
        }
        (server, format!("vfio-user:{socket}"))
    }

    /// Tells it to end. Its exit status is 1 where a driver did what the datasheet forbids.
    fn end(mut self) -> Option<i32> {
        assert!(Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a command prints as JSON, and its exit status.
fn ask(arguments: &[&str]) -> (Option<i32>, Value) {
    let outcome = barewire(arguments);
    (outcome.status, serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}")))
}

#[test]
fn a_served_card_is_tested_and_looked_into() {
    for (card, id) in [("82599", 0x10fb), ("x550", 0x1563)] {
        let directory = Directory::new(&format!("cli-selftest-served-{card}"));
        let (server, spec) = Server::new(&format!("ixgbe,card={card}"), &directory);
        let (status, test) = ask(&["selftest", &spec, "--json"]);
        assert_eq!((status, &test["good"]), (Some(0), &json!(true)), "{test}");
        let (_, dump) = ask(&["dump", &spec, "--json"]);
        let registers = dump["registers"].as_array().unwrap();
        let rxctrl = registers.iter().find(|register| register["name"] == "RXCTRL").unwrap();
        assert_eq!(rxctrl["fields"], json!({ "RXEN": 1 }));
        let (_, stats) = ask(&["stats", &spec, "--all", "--seconds", "0", "--json"]);
        assert!(stats["xstats"].as_object().unwrap().len() > 100 && stats["stats"]["rx_errors"] == 0, "{stats}");
        let (_, eeprom) = ask(&["eeprom", &spec, "--json"]);
        assert_eq!((&eeprom["checksum"]["good"], &eeprom["words"][0x2d]), (&json!(true), &json!(id)));
        assert_eq!(server.end(), Some(0), "no violations");
    }
}

#[test]
fn a_served_card_that_is_broken_is_found_out() {
    let directory = Directory::new("cli-selftest-served-broken");
    let (server, spec) = Server::new("ixgbe,defect=interrupt", &directory);
    let (status, test) = ask(&["selftest", &spec, "--json"]);
    let flaws: Vec<_> = test["parts"].as_array().unwrap().iter().filter_map(|part| part.get("flaw")).collect();
    assert!(status == Some(1) && flaws.len() == 1 && flaws[0]["kind"] == "lost-interrupt" && flaws[0]["vector"] == 1, "{test}");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_served_virtio_card_is_tested_as_far_as_it_goes() {
    let directory = Directory::new("cli-selftest-served-virtio");
    let (server, spec) = Server::new("virtio-net", &directory);
    let (status, test) = ask(&["selftest", &spec, "--json"]);
    let words: Vec<_> = test["parts"].as_array().unwrap().iter().map(|part| part["outcome"].as_str().unwrap()).collect();
    assert_eq!((status, words), (Some(0), vec!["passed", "absent", "passed", "absent", "passed"]), "{test}");
    assert_eq!(server.end(), Some(0));
}
