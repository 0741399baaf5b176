//! A card behind a vfio-user socket.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use barewire::sim::Model;
use barewire::sim::vfio_user::{Server, Stopper};
use barewire::sim::violation::Violations;
use barewire::sim::wire::Wire;

use super::Directory;

/// A card behind a socket, on a thread of its own. Dropped, it ends and must have seen nothing that the datasheet forbids.
pub(crate) struct Served {
    pub(crate) spec: String,
    stopper: Stopper,
    violations: Arc<Violations>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub(crate) fn start(directory: &Directory, name: &str, model: Box<dyn Model>, wire: impl Wire + 'static) -> Self {
        let path = directory.file(name);
        let mut server = Server::bind(Path::new(&path), model, Box::new(wire)).unwrap();
        let (stopper, violations) = (server.stopper(), server.violations());
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self { spec: format!("vfio-user:{path}"), stopper, violations, thread: Some(thread) }
    }

    pub(crate) fn stop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
        if !std::thread::panicking() {
            assert_eq!(self.violations.total(), 0, "{:?}", self.violations.to_vec());
        }
    }
}
