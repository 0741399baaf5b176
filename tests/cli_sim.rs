//! `barewire sim`: a card behind a socket, from another process.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

#[test]
fn what_cannot_be_served_is_told() {
    let directory = Directory::new("cli-sim-wrong");
    let (socket, file) = (directory.file("nic.sock"), directory.file("file"));
    std::fs::write(&file, "").unwrap();
    for (device, socket, wire, status, wanted) in [
        ("ixgeb", &socket, "tap=t", 2, "did you mean sim:ixgbe?"),
        ("ixgbe,tap=t", &socket, "tap=t", 2, "ixgbe,tap=t: what the card is plugged into stands behind --wire"),
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
