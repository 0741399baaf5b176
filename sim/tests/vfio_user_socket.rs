//! The file of a vfio-user server's socket: whose it is, and who may replace or remove it.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

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
