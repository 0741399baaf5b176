//! The file of a vfio-user server's socket: whose it is, and who may replace or remove it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::vfio_user::Server;
use sim::wire::peer;

fn path(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("barewire-socket-{}-{test}", std::process::id()))
}

fn bind(path: &Path) -> Result<Server, String> {
    let card = Box::new(Ixgbe::new(IxgbeOptions::default()));
    Server::bind(path, card, Box::new(peer::pair(4).0)).map_err(|error| error.to_string())
}

/// A server with a client, and one client more that waits: libvfio-user listens with a backlog of 0.
#[test]
fn a_path_where_a_busy_server_listens_is_refused_at_once() {
    let path = path("busy");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = UnixStream::connect(&path).unwrap();
    let (sender, done) = channel();
    let at = path.clone();
    std::thread::spawn(move || sender.send(bind(&at).map(drop)));
    let bound = done.recv_timeout(Duration::from_secs(60));
    // Frees a thread that waits.
    drop((waiting, listener));
    std::fs::remove_file(&path).unwrap();
    assert!(bound.expect("binding ends").unwrap_err().contains("another process listens there"));
}

#[test]
fn a_socket_that_nobody_listens_at_is_replaced() {
    let path = path("stale");
    drop(UnixListener::bind(&path).unwrap());
    let server = bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(server);
    assert!(!path.exists());
}

#[test]
fn a_server_that_ends_leaves_the_socket_of_the_next_one_alone() {
    let path = path("next");
    let first = bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = bind(&path).unwrap();
    drop(first);
    assert!(path.exists(), "the second one listens there");
    drop(second);
    assert!(!path.exists());
}

/// What a client says first: VERSION 0.1, with an identifier of its own.
fn propose(path: &Path, id: u8) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&[id, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]).unwrap();
    stream
}

/// The header of the reply: identifier, command and size; flags; error.
fn answer(stream: &mut UnixStream) -> ([u8; 3], u8, u8) {
    let mut header = [0; 16];
    stream.read_exact(&mut header).unwrap();
    ([header[0], header[2], header[4]], header[8], header[12])
}

#[test]
fn who_comes_while_another_is_served_is_told_and_the_next_is_served() {
    let path = path("others");
    let mut server = bind(&path).unwrap();
    let stopper = server.stopper();
    let serving = std::thread::spawn(move || server.run());
    let mut first = propose(&path, 1);
    assert_eq!(answer(&mut first).1, 1, "a reply without an error");
    // One that says nothing takes nobody's place.
    let silent = UnixStream::connect(&path).unwrap();
    let begun = Instant::now();
    let mut second = propose(&path, 7);
    // EBUSY
    assert_eq!(answer(&mut second), ([7, 1, 16], 0x21, 16));
    assert_eq!(second.read(&mut [0; 1]).unwrap(), 0, "and its connection is closed");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // One that comes when the first has just gone.
    drop((first, silent));
    let mut third = propose(&path, 3);
    assert_eq!(answer(&mut third).1, 1);
    drop(third);
    stopper.stop();
    serving.join().unwrap().unwrap();
}
