//! `barewire sim`: a card behind a socket, from another process.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::Directory;
use common::machine::barewire;

/// The tool, ended in any case.
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn message(command: u8, payload: &[u8]) -> Vec<u8> {
    let size = 16 + payload.len() as u8;
    [&[1, 0, command, 0, size, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], payload].concat()
}

fn reply(stream: &mut UnixStream) -> Vec<u8> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[8..], [1, 0, 0, 0, 0, 0, 0, 0], "a reply without an error");
    let mut payload = vec![0; u32::from_le_bytes(header[4..8].try_into().unwrap()) as usize - 16];
    stream.read_exact(&mut payload).unwrap();
    payload
}

#[test]
fn a_card_is_served_until_the_tool_is_told_to_end() {
    let directory = Directory::new("cli-sim");
    for (device, ids) in [("ixgbe,card=x540", [0x86, 0x80, 0x28, 0x15]), ("virtio-net", [0xf4, 0x1a, 0x41, 0x10])] {
        let (socket, wire) = (directory.file("nic.sock"), format!("pcap-out={},loss=0.5", directory.file("out.pcap")));
        let arguments = ["sim", "--device", device, "--socket", &socket, "--wire", &wire];
        let child = Command::new(env!("CARGO_BIN_EXE_barewire")).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut tool = Tool(child);
        let mut lines = BufReader::new(tool.0.stdout.take().unwrap());
        let mut ready = String::new();
        lines.read_line(&mut ready).unwrap();
        assert!(ready.starts_with(&format!("sim:{device} at {socket}; QEMU: -device '{{\"driver\":\"vfio-user-pci\"")), "{ready}");
        for _ in 0..2 {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(&message(1, b"\0\0\0\0{}\0")).unwrap();
            reply(&mut stream);
            stream.write_all(&message(9, &[0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0])).unwrap();
            assert_eq!(reply(&mut stream)[16..], ids);
        }
        assert!(Command::new("kill").args(["-TERM", &tool.0.id().to_string()]).status().unwrap().success());
        assert_eq!(tool.0.wait().unwrap().code(), Some(0));
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "2 client(s); what the datasheet forbids was done 0 time(s)\n");
        assert!(!std::path::Path::new(&socket).exists());
    }
}

const LIMIT: Duration = Duration::from_secs(20);

/// The lines of a stream, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// A card that is served at `socket`, with its standard input, and the lines of its output and of its errors.
fn served(socket: &str, wire: &str, more: &[&str]) -> (Tool, ChildStdin, [Receiver<String>; 2]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barewire"));
    command.args(["sim", "--device", "ixgbe", "--socket", socket, "--wire", wire]).args(more);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let streams = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    (Tool(child), streams.0, [lines(streams.1), lines(streams.2)])
}

/// A client with memory decoding turned on.
fn client(socket: &str) -> UnixStream {
    let deadline = Instant::now() + LIMIT;
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&message(1, b"\0\0\0\0{}\0")).unwrap();
    reply(&mut stream);
    stream.write_all(&message(10, &[4, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 2, 0])).unwrap();
    reply(&mut stream);
    stream
}

/// LINKS says that the link is up.
fn is_up(stream: &mut UnixStream) -> bool {
    stream.write_all(&message(9, &[0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0])).unwrap();
    reply(stream)[19] & 0x40 != 0
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} within {LIMIT:?}");
    }
}

#[test]
fn the_cable_is_pulled_by_a_line_of_input() {
    let directory = Directory::new("cli-sim-cable");
    let (socket, wire) = (directory.file("nic.sock"), format!("dgram={}:{}", directory.file("near"), directory.file("far")));
    let (mut tool, mut input, [output, errors]) = served(&socket, &wire, &[]);
    output.recv_timeout(LIMIT).unwrap();
    let mut stream = client(&socket);
    eventually("the link is up", || is_up(&mut stream));
    input.write_all(b"link down\n").unwrap();
    eventually("the link is down", || !is_up(&mut stream));
    input.write_all(b"\nlink  up \n").unwrap();
    eventually("the link is up again", || is_up(&mut stream));
    input.write_all(b"help\n").unwrap();
    let help = output.recv_timeout(LIMIT).unwrap();
    assert_eq!(
        help,
        "commands on standard input: `link down` pulls the card's cable, `link up` plugs it in, `mishap \
         hang|needs-reset|lie|vanish|memory-error|bus-error|overheat|pf-reset|moved` lets that happen to the card, `help` lists the commands"
    );
    input.write_all(b"link down now \xff\x1b\n").unwrap();
    let complaint = errors.recv_timeout(LIMIT).unwrap();
    assert_eq!(complaint, format!("unknown command \"link down now \u{fffd}\\u{{1b}}\"; {help}"));
    assert!(is_up(&mut stream));
    // The end of the input is not the card's.
    drop((input, stream));
    let mut stream = client(&socket);
    eventually("the link of the next client is up", || is_up(&mut stream));
    assert!(Command::new("kill").args(["-TERM", &tool.0.id().to_string()]).status().unwrap().success());
    assert_eq!(tool.0.wait().unwrap().code(), Some(0));
    assert_eq!(output.iter().collect::<Vec<_>>(), ["2 client(s); what the datasheet forbids was done 0 time(s)"]);
    assert_eq!(errors.iter().count(), 0);
}

#[test]
fn a_line_of_input_lets_something_happen_to_the_card() {
    let directory = Directory::new("cli-sim-mishap");
    let (socket, wire) = (directory.file("nic.sock"), format!("dgram={}:{}", directory.file("near"), directory.file("far")));
    let (mut tool, mut input, [output, errors]) = served(&socket, &wire, &[]);
    output.recv_timeout(LIMIT).unwrap();
    let mut stream = client(&socket);
    eventually("the link is up", || is_up(&mut stream));
    input.write_all(b"mishap flood\nmishap needs-reset\n").unwrap();
    assert!(errors.recv_timeout(LIMIT).unwrap().starts_with("unknown command \"mishap flood\"; commands on standard input"));
    // Intel's cards have no such word.
    let warning = errors.recv_timeout(LIMIT).unwrap();
    assert!(warning.ends_with("this card cannot have the mishap needs-reset"), "{warning}");
    assert!(is_up(&mut stream));
    input.write_all(b"mishap vanish\n").unwrap();
    // LINKS reads all ones, STATUS too.
    eventually("all registers read ones", || {
        stream.write_all(&message(9, &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0])).unwrap();
        reply(&mut stream)[16..20] == [0xff; 4]
    });
    assert!(Command::new("kill").args(["-TERM", &tool.0.id().to_string()]).status().unwrap().success());
    assert_eq!(tool.0.wait().unwrap().code(), Some(0));
}

#[test]
fn violations_of_a_kind_that_are_not_printed_are_told() {
    let directory = Directory::new("cli-sim-flood");
    let socket = directory.file("nic.sock");
    let (tool, _input, [output, errors]) = served(&socket, "slow-us=1", &[]);
    output.recv_timeout(LIMIT).unwrap();
    let mut stream = client(&socket);
    for _ in 0..100 {
        // The last word of the registers, which is none.
        stream.write_all(&message(10, &[0xFC, 0xFF, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0])).unwrap();
        reply(&mut stream);
    }
    drop(stream);
    assert!(Command::new("kill").args(["-TERM", &tool.0.id().to_string()]).status().unwrap().success());
    let told: Vec<_> = errors.iter().filter(|line| line.contains("a reserved register was written")).collect();
    assert_eq!(told.len(), 64 + 1, "{told:#?}");
    assert!(told[64].ends_with("sim] from here on only counted, after 64 of a kind: a reserved register was written"), "{}", told[64]);
    assert_eq!(output.iter().next().unwrap(), "1 client(s); what the datasheet forbids was done 100 time(s)");
}

#[test]
fn standard_output_is_kept_for_json() {
    let directory = Directory::new("cli-sim-json");
    let (tool, mut input, [output, errors]) = served(&directory.file("nic.sock"), "slow-us=1", &["--json"]);
    input.write_all(b"help\n").unwrap();
    assert!(errors.recv_timeout(LIMIT).unwrap().starts_with("commands on standard input: "));
    assert!(Command::new("kill").args(["-TERM", &tool.0.id().to_string()]).status().unwrap().success());
    let json: String = output.iter().collect();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["clients"], 0, "{json}");
}

#[test]
fn what_cannot_be_served_is_told() {
    let directory = Directory::new("cli-sim-wrong");
    let (socket, file) = (directory.file("nic.sock"), directory.file("file"));
    std::fs::write(&file, "").unwrap();
    for (device, socket, wire, status, wanted) in [
        ("ixgeb", &socket, "tap=t", 2, "did you mean sim:ixgbe?"),
        ("ixgbe,tap=t", &socket, "tap=t", 2, "ixgbe,tap=t: what the card is plugged into stands behind --wire"),
        ("ixgbe,run=stepped", &socket, "tap=t", 2, "ixgbe,run=stepped: run= is for cards of a program"),
        ("ixgbe", &socket, "tpa=t", 2, "did you mean tap=NAME?"),
        ("ixgbe", &socket, "pcap-in=/no/such/file", 1, "/no/such/file"),
        ("ixgbe", &file, "slow-us=1", 1, "a file that is no socket is there; take another path"),
        ("ixgbe", &"/no/such/folder/nic.sock".to_owned(), "slow-us=1", 1, "make its directory first"),
    ] {
        let outcome = barewire(&["sim", "--device", device, "--socket", socket, "--wire", wire]);
        assert_eq!(outcome.status, Some(status), "{outcome:?}");
        assert!(outcome.stderr.contains(wanted) && outcome.stderr.lines().count() == 1, "{outcome:?}");
    }
    assert_eq!(barewire(&["sim", "--device", "ixgbe"]).status, Some(2));
}
