//! The accounting identity: no frame is in no counter, and none in two.
//!
//! An [`Audit`] stands between a test and a driver's queues and counts what goes in and what comes out, by the batches and not by the driver's own numbers. When
//! the control handle and all queues are gone it compares that with the device's [`Accounts`](crate::device::Accounts):
//!
//! * **transmit**: every frame that [`submit`](crate::queue::TxQueue::submit) took was counted as taken, and was sent or given up;
//! * **receive**: every frame that [`poll`](crate::queue::RxQueue::poll) handed up was counted; every frame that the device put into memory was handed up, found bad,
//!   or given up.
//!
//! * **the port**: what the device counts by name ([`xstats`](crate::device::NetDevice::xstats)) adds up: frames that it let in went to a queue or were dropped, for one of two
//!   reasons, or wait for a descriptor; frames that it sent came from a queue, or were pause frames; and each name of a queue says what the accounts say.
//!
//! What was sent it can compare with what the test [saw on the wire](Audit::saw_on_wire). Queues that outlive the audit have given up nothing yet: of their frames it
//! knows that they are no more than were pending, or have room in a ring. Of a device that counts nothing (virtio), that is gone, or that did not confirm that it
//! stopped, it knows what the queues did. So that the last queue's frames can be asked for, a control handle that was dropped is stopped at once, and goes with the
//! last queue.

mod book;
mod control;
mod port;
mod queues;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::sync::Mutex;

use crate::buf::pool::PoolConfig;
use crate::device::config::Config;
use crate::device::contract::{NetDriver, Started};
use crate::device::error::{Error, StartError};
use crate::device::info::DeviceInfo;
use crate::device::self_test::SelfTest;
use book::{Book, lock};
pub use control::AuditedControl;
pub use queues::{AuditedRx, AuditedTx};

/// Watches the devices of one test, and when it is dropped, or asked to [`settle`](Self::settle), asserts that every frame of theirs is accounted for.
///
/// A rig owns one and starts its devices through [`watch`](Self::watch). Drop what was started first.
#[derive(Default)]
pub struct Audit {
    books: Mutex<Vec<Arc<Book>>>,
    excuse: Mutex<Option<String>>,
    on_wire: Mutex<Option<u64>>,
}

impl Audit {
    /// One that watches nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A device that is watched from its start on, whatever its driver.
    pub fn watch<D: NetDriver>(&self, device: D) -> Audited<D> {
        let book = Arc::new(Book::default());
        lock(&self.books).push(book.clone());
        Audited { below: device, book }
    }

    /// The test has its device lie about what it received or sent: what the *device* counted is not compared. What the queues counted is.
    pub fn excuse(&self, why: &str) {
        *lock(&self.excuse) = Some(why.into());
    }

    /// How many frames left the devices that were watched and no others, seen from the far end of their wire. Where the devices count what
    /// they send, it is as many.
    pub fn saw_on_wire(&self, frames: u64) {
        *lock(&self.on_wire) = Some(frames);
    }

    /// Asserts that every frame of the devices that were watched until now is accounted for, and forgets them.
    ///
    /// # Panics
    /// Where one is not, or a started device was not stopped: each in a sentence.
    pub fn settle(&self) {
        let excused = lock(&self.excuse).is_some();
        let books = core::mem::take(&mut *lock(&self.books));
        let on_wire = lock(&self.on_wire).take();
        let mut wrong: Vec<String> = books.iter().flat_map(|book| book.complaints(excused)).collect();
        if wrong.is_empty() && !excused {
            wrong.extend(on_wire.and_then(|frames| book::wrong_on_wire(&books, frames)));
        }
        let wrong: String = wrong.iter().map(|text| format!("\n{text}")).collect();
        assert!(wrong.is_empty(), "frames are not accounted for:{wrong}");
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.settle();
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Audit({:?}, excuse: {:?})", self.books, self.excuse)
    }
}

/// An opened device that an [`Audit`] watches once it is started.
pub struct Audited<D> {
    below: D,
    book: Arc<Book>,
}

impl<D: NetDriver> NetDriver for Audited<D> {
    type Control = AuditedControl<D::Control>;
    type Rx = AuditedRx<D::Rx>;
    type Tx = AuditedTx<D::Tx>;

    fn pool_config(info: &DeviceInfo, config: &Config) -> PoolConfig {
        D::pool_config(info, config)
    }

    fn info(&self) -> &DeviceInfo {
        self.below.info()
    }

    fn self_test(&mut self, link_us: u64) -> Result<SelfTest, Error> {
        self.below.self_test(link_us)
    }

    fn start(self, config: &Config) -> Result<Started<Self>, StartError<Self>> {
        let Self { below, book } = self;
        let Started { control, rx, tx, pool } = match below.start(config) {
            Ok(started) => started,
            Err(error) => {
                let (error, below) = error.into_parts();
                return Err(StartError::new(error, Self { below, book }));
            }
        };
        book.open(&control, rx.len());
        let rx = rx.into_iter().map(|queue| AuditedRx::new(queue, &book)).collect();
        let tx = tx.into_iter().map(|queue| AuditedTx::new(queue, &book)).collect();
        Ok(Started::new(AuditedControl::new(control, book), rx, tx, pool))
    }
}

impl<D: fmt::Debug> fmt::Debug for Audited<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.below.fmt(f)
    }
}

#[cfg(test)]
mod tests;
