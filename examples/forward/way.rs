//! From a receive queue of one port to a transmit queue of the other.

use barewire::{Batch, DeviceError, Error, Port, RxQueue, TxQueue};

use crate::common::refused::Refused;
use crate::common::warn;

/// A way from one port to the other.
pub(crate) struct Way {
    pub(crate) rx: Box<dyn RxQueue>,
    pub(crate) batch: Batch,
    pub(crate) out: Out,
}

/// Its end: out of a transmit queue.
pub(crate) struct Out {
    pub(crate) tx: Box<dyn TxQueue>,
    pub(crate) refused: Refused,
    /// The names of the two ports.
    pub(crate) from: String,
    to: String,
}

impl Way {
    /// Both ways, there and back, for each pair of queues that both ports have.
    pub(crate) fn pairs(a: &mut Port, b: &mut Port, batch: usize) -> Vec<[Self; 2]> {
        let names = [a.name().to_owned(), b.name().to_owned()];
        let way = |rx, tx, [from, to]: [&String; 2]| {
            let out = Out { tx, refused: Refused::default(), from: from.clone(), to: to.clone() };
            Self { rx, batch: Batch::new(batch), out }
        };
        let [there, back] = [[&names[0], &names[1]], [&names[1], &names[0]]];
        let both = std::iter::from_fn(|| Some((a.take_queues()?, b.take_queues()?)));
        both.map(|((a_rx, a_tx), (b_rx, b_tx))| [way(a_rx, b_tx, there), way(b_rx, a_tx, back)]).collect()
    }

    /// Receives as much as there is room for, `budget` at most, and sends as much as goes. Returns how many frames came or went.
    pub(crate) fn forward(&mut self, budget: usize) -> Result<usize, Error> {
        let received = self.rx.poll(&mut self.batch, budget);
        if received == 0
            && let Some(fault) = self.rx.fault()
        {
            return Err(Error::Queue { device: self.out.from.clone(), fault });
        }
        Ok(received + self.out.send(&mut self.batch)?)
    }

    /// How many frames came.
    pub(crate) fn received(&self) -> u64 {
        self.rx.counters().packets
    }

    /// How many the transmit queue took.
    pub(crate) fn sent(&self) -> u64 {
        self.out.tx.counters().packets
    }
}

impl Out {
    /// Sends what is in the batch, and drops what cannot be sent. Returns how many frames left the batch.
    pub(crate) fn send(&mut self, batch: &mut Batch) -> Result<usize, Error> {
        let before = batch.len();
        let sent = self.tx.submit_or_drop(batch, &mut self.refused.drops);
        self.refused.news(&self.to).into_iter().for_each(warn);
        sent.map_err(|fault| Error::Queue { device: self.to.clone(), fault })?;
        Ok(before - batch.len())
    }

    /// Sleeps until the queue takes more, for so long at most.
    pub(crate) fn wait_for_room(&mut self, timeout_us: u64) -> Result<(), Error> {
        let waited = self.tx.wait_for_room(Some(timeout_us));
        waited.map(|_| ()).map_err(|error| DeviceError::new(&self.to, "waiting for room in a transmit queue", error).into())
    }
}

/// Frames that came to the first port of a direction (0: there, 1: back) by all its queues.
pub(crate) fn received(pairs: &[[Way; 2]], direction: usize) -> u64 {
    pairs.iter().map(|ways| ways[direction].received()).sum()
}
