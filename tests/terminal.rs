//! A card that is served from a terminal's background is not stopped for looking whether somebody typed.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Directory;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

const LIMIT: Duration = Duration::from_secs(20);

/// A terminal and its other side.
fn terminal() -> (File, OwnedFd) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let side = rustix::fs::open(ptsname(&terminal, Vec::new()).unwrap(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (terminal.into(), side)
}

/// A shell and the process that it started, ended in any case.
struct Shell(Child, Option<String>);

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(pid) = &self.1 {
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The state of a process: R, S, T where it is stopped (proc(5)).
fn state(pid: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1[..1].to_owned()
}

/// LINKS of the card says that its link is up: VERSION, memory decoding, and a read of the register.
fn is_link_up(stream: &mut UnixStream) -> bool {
    stream.write_all(&[1, 0, 9, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]).unwrap();
    reply(stream)[19] & 0x40 != 0
}

fn reply(stream: &mut UnixStream) -> Vec<u8> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).unwrap();
    let mut payload = vec![0; usize::from(header[4]) + 256 * usize::from(header[5]) - 16];
    stream.read_exact(&mut payload).unwrap();
    payload
}

fn client(socket: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&[1, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]).unwrap();
    reply(&mut stream);
    // The command register, memory decoding.
    stream.write_all(&[1, 0, 10, 0, 34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 2, 0]).unwrap();
    reply(&mut stream);
    stream
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_card_that_is_served_in_the_background_takes_nothing_from_the_terminal_and_is_not_stopped() {
    let directory = Directory::new("background");
    let (socket, wire) = (directory.file("nic.sock"), format!("dgram={}:{}", directory.file("near"), directory.file("far")));
    let (mut terminal, side) = terminal();
    // A session of its own with that terminal; with job control a command behind & is in the background, and has the terminal as its input.
    let script = "set -m; \"$0\" sim --device ixgbe --socket \"$1\" --wire \"$2\" & echo pid $!; while read line; do echo got $line; [ \"$line\" = fg ] && fg; done";
    let mut command = Command::new("setsid");
    command.args(["--ctty", "sh", "-c", script, env!("CARGO_BIN_EXE_barewire"), &socket, &wire]);
    let input = side.try_clone().unwrap();
    let mut shell = Shell(command.stdin(Stdio::from(input)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), None);
    drop(side);
    let mut lines = BufReader::new(shell.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let pid = lines.find_map(|line| line.strip_prefix("pid ").map(str::to_owned)).unwrap();
    shell.1 = Some(pid.clone());
    eventually("its socket", || UnixStream::connect(&socket).is_ok());
    let mut stream = client(&socket);
    eventually("the link is up", || is_link_up(&mut stream));
    // What is typed is for who is in front.
    terminal.write_all(b"link down\n").unwrap();
    assert_eq!(lines.find(|line| line.starts_with("got")).as_deref(), Some("got link down"));
    std::thread::sleep(Duration::from_millis(600));
    assert!(matches!(state(&pid).as_str(), "R" | "S"), "{}", state(&pid));
    assert!(is_link_up(&mut stream), "it goes on serving");
    // In front, what is typed is for the card.
    terminal.write_all(b"fg\n").unwrap();
    assert_eq!(lines.find(|line| line.starts_with("got")).as_deref(), Some("got fg"));
    terminal.write_all(b"link down\n").unwrap();
    eventually("the link is down", || !is_link_up(&mut stream));
}
