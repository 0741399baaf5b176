//! The loops of both queues over kernels that do what a script says: no ring, no device.

mod drops;
mod ends;
mod hang;
mod room;
mod rx;
mod tx;
mod tx_script;

use std::sync::{Arc, Mutex, MutexGuard};

use crate::queue::core::lent::Lent;

/// What became of a ring whose queue is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    InUse,
    Released,
    Leaked,
}

/// What a kernel did and is to do, in the test's hands while the queue owns the kernel.
#[derive(Default)]
struct Script<S>(Arc<Mutex<S>>);

impl<S> Script<S> {
    fn state(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap()
    }
}

impl<S> Clone for Script<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// How many frames a [`Ring`] says are lost with it.
const LOST: u64 = 3;

/// A ring that notes what becomes of it.
#[derive(Debug, Default)]
struct Ring(Arc<Mutex<Fate>>);

impl Lent for Ring {
    unsafe fn release(self) -> u64 {
        *self.0.lock().unwrap() = Fate::Released;
        LOST
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut fate = self.0.lock().unwrap();
        if *fate == Fate::InUse {
            *fate = Fate::Leaked;
        }
    }
}
