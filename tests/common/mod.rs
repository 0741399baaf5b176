//! What the tests of the applications share: running an example, and a directory for its files.
#![allow(dead_code, reason = "each test uses a part")]

#[cfg(feature = "cli")]
pub(crate) mod machine;
pub(crate) mod ports;
#[cfg(all(feature = "sim", feature = "vfio"))]
pub(crate) mod served;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What an application said and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The example `name`, which `cargo test` builds beside the tests.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --examples`, or cargo test without --test", path.display());
    Command::new(path)
}

/// Runs the example `name` to its end.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Outcome {
    let output = example(name).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The value of `key=value` in what was said, where it stands last.
pub(crate) fn field(said: &str, key: &str) -> u64 {
    let found = said.split_whitespace().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {key}= in: {said}")).parse().unwrap()
}

/// The far end of a simulated card's wire, which sends frames until it is dropped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The wire's option in the card's spec.
    pub(crate) wire: String,
}

impl Flood {
    pub(crate) fn start(directory: &Directory, frame: Vec<u8>) -> Self {
        let (near, far) = (directory.file("near"), directory.file("far"));
        let wire = format!("dgram={far}:{near}");
        let socket = UnixDatagram::bind(&near).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                // Until the card's socket is there, and while it is full, nobody takes them.
                if socket.send_to(&frame, &far).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        Self { stop, thread: Some(thread), wire }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A directory that is removed with its files.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("barewire-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
