//! Batches on their way round the threads: each station takes them from the one before it and passes them on to the next.
//!
//! What goes round is a whole batch, with frames on the way there and with as many empty buffers on the way back: who takes its frames out gives buffers of what was
//! sent before for them, and who puts frames in takes them for what is received next (`Batch::take_from`), so that none comes by the pool and its lock. There
//! are so many batches and no more: where the last station is slow they are all with it, and the first has none to receive into, so that frames wait in its
//! card's ring.

use std::sync::atomic::{Ordering, fence};

use barewire::Batch;
use rtrb::{Consumer, Producer, RingBuffer};

/// One thread's place in a circle.
pub(crate) struct Station {
    from: Consumer<Box<Batch>>,
    to: Producer<Box<Batch>>,
}

/// A circle of stations, with `batches` for `frames` frames each, all of which wait at the first.
pub(crate) fn circle<const STATIONS: usize>(batches: usize, frames: usize) -> [Station; STATIONS] {
    // Each way has room for all of them.
    let (mut to, from): (Vec<_>, Vec<_>) = (0..STATIONS).map(|_| RingBuffer::new(batches)).unzip();
    for _ in 0..batches {
        let _ = to[0].push(Box::new(Batch::new(frames)));
    }
    to.rotate_left(1);
    let mut stations = from.into_iter().zip(to).map(|(from, to)| Station { from, to });
    std::array::from_fn(|_| stations.next().expect("there is one each"))
}

impl Station {
    /// The batch that came first of those that wait here.
    pub(crate) fn take(&mut self) -> Option<Box<Batch>> {
        self.from.pop().ok()
    }

    /// Hands a batch to the next station.
    pub(crate) fn pass(&mut self, batch: Box<Batch>) {
        // There is room for every batch. Where the next station is gone it goes with what waits there.
        let _ = self.to.push(batch);
    }

    /// Whether nothing comes any more: the station before is gone, and all that it passed on was taken.
    pub(crate) fn is_over(&self) -> bool {
        if !self.from.is_abandoned() {
            return false;
        }
        // What it passed on before it went is seen from here on.
        fence(Ordering::Acquire);
        self.from.is_empty()
    }

    /// Whether the next station is gone.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.to.is_abandoned()
    }
}
