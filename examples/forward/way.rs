//! From a receive queue of one port to a transmit queue of the other.

use barewire::{Batch, Error, Port, RxQueue, TxQueue};

use crate::common::refused::Refused;
use crate::common::warn;

/// A way from one port to the other.
pub(crate) struct Way {
    pub(crate) rx: Box<dyn RxQueue>,
    pub(crate) tx: Box<dyn TxQueue>,
    pub(crate) batch: Batch,
    pub(crate) refused: Refused,
    /// The names of the two ports.
    names: [String; 2],
}

impl Way {
    /// Both ways, there and back, for each pair of queues that both ports have.
    pub(crate) fn pairs(a: &mut Port, b: &mut Port, batch: usize) -> Vec<[Self; 2]> {
        let names = [a.name().to_owned(), b.name().to_owned()];
        let back = [names[1].clone(), names[0].clone()];
        let way = |rx, tx, names: &[String; 2]| Self { rx, tx, batch: Batch::new(batch), refused: Refused::default(), names: names.clone() };
        let both = std::iter::from_fn(|| Some((a.take_queues()?, b.take_queues()?)));
        both.map(|((a_rx, a_tx), (b_rx, b_tx))| [way(a_rx, b_tx, &names), way(b_rx, a_tx, &back)]).collect()
    }

    /// Receives as much as there is room for, `budget` at most, and sends as much as goes. Returns how many frames came or went.
    pub(crate) fn forward(&mut self, budget: usize) -> Result<usize, Error> {
        let received = self.rx.poll(&mut self.batch, budget);
        if received == 0
            && let Some(fault) = self.rx.fault()
        {
            return Err(Error::Queue { device: self.names[0].clone(), fault });
        }
        Ok(received + self.submit()?)
    }

    /// Sends what is in the batch, and drops what cannot be sent. Returns how many frames left the batch.
    fn submit(&mut self) -> Result<usize, Error> {
        let before = self.batch.len();
        let sent = self.tx.submit_or_drop(&mut self.batch, &mut self.refused.drops);
        self.refused.news(&self.names[1]).into_iter().for_each(warn);
        sent.map_err(|fault| Error::Queue { device: self.names[1].clone(), fault })?;
        Ok(before - self.batch.len())
    }

    /// How many frames came.
    pub(crate) fn received(&self) -> u64 {
        self.rx.counters().packets
    }

    /// How many the transmit queue took.
    pub(crate) fn sent(&self) -> u64 {
        self.tx.counters().packets
    }
}

/// Frames that came to the first port of a direction (0: there, 1: back) by all its queues.
pub(crate) fn received(pairs: &[[Way; 2]], direction: usize) -> u64 {
    pairs.iter().map(|ways| ways[direction].received()).sum()
}
