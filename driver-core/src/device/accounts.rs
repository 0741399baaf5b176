//! What became of every frame: each is in exactly one account.

use core::fmt;

/// The accounts of a device's queues since its start, in frames.
///
/// Once all queues are gone nothing is pending any more. Then every frame that [`TxQueue::submit`](crate::queue::TxQueue::submit) took was sent or is lost, and
/// every frame that the device put into memory was handed up, settled by a hook, had an error, or is lost: [`Accounts::check`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accounts {
    /// Frames that the transmit queues took.
    pub tx_taken: u64,
    /// Frames that the device sent, by its own count; `None` where it has none.
    pub tx_sent: Option<u64>,
    /// What the device makes of frames that it cuts, beyond these: all of them are to be sent.
    pub tx_cut: u64,
    /// Those that were given up with their queue.
    pub tx_lost: u64,
    /// Frames that the device put into memory, by its own count; `None` where it has none.
    pub rx_filled: Option<u64>,
    /// Those that were handed up.
    pub rx_delivered: u64,
    /// What the device put together into others of these: segments beyond the first of each frame.
    pub rx_coalesced: u64,
    /// Those that a hook dropped or sent where they lay ([`PollWith`](crate::queue::PollWith)), and were not.
    pub rx_in_place: u64,
    /// Those that had an error, and were not.
    pub rx_errors: u64,
    /// Those that nobody had polled when their queue ended.
    pub rx_lost: u64,
    /// Whether all queues are gone.
    pub is_final: bool,
}

/// Frames that are in no account, or in more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imbalance {
    /// Whether they were sent, or received.
    pub is_tx: bool,
    /// Frames that queues took, or that the device put into memory.
    pub taken: u64,
    /// All frames that are in an account.
    pub told: u64,
}

impl Accounts {
    /// That each frame is in exactly one account, as far as the device counts, once all queues are gone.
    ///
    /// # Errors
    /// [`Imbalance`]
    pub fn check(&self) -> Result<(), Imbalance> {
        let balanced = |is_tx, taken, told| if !self.is_final || taken == told { Ok(()) } else { Err(Imbalance { is_tx, taken, told }) };
        if let Some(sent) = self.tx_sent {
            balanced(true, self.tx_taken + self.tx_cut, sent + self.tx_lost)?;
        }
        match self.rx_filled {
            Some(filled) => balanced(false, filled, self.rx_delivered + self.rx_coalesced + self.rx_in_place + self.rx_errors + self.rx_lost),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, told, .. } = self;
        match self.is_tx {
            true => write!(f, "the transmit queues took {taken} frames, and {told} were sent or given up"),
            false => write!(f, "the device put {taken} frames into memory, and {told} were handed up, settled by a hook, bad or given up"),
        }
    }
}
impl core::error::Error for Imbalance {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_frame_is_in_one_account_once_the_queues_are_gone() {
        let good = Accounts {
            tx_taken: 10,
            tx_sent: Some(7),
            tx_cut: 0,
            tx_lost: 3,
            rx_filled: Some(9),
            rx_delivered: 4,
            rx_coalesced: 0,
            rx_in_place: 1,
            rx_errors: 3,
            rx_lost: 1,
            is_final: true,
        };
        assert_eq!(good.check(), Ok(()));
        let text = |accounts: Accounts| accounts.check().unwrap_err().to_string();
        assert_eq!(text(Accounts { tx_lost: 2, ..good }), "the transmit queues took 10 frames, and 9 were sent or given up");
        assert_eq!(
            text(Accounts { rx_delivered: 5, ..good }),
            "the device put 9 frames into memory, and 10 were handed up, settled by a hook, bad or given up"
        );
        assert_eq!(Accounts { tx_cut: 4, tx_sent: Some(11), ..good }.check(), Ok(()), "of some the device makes many");
        assert_eq!(Accounts { rx_coalesced: 5, rx_filled: Some(14), ..good }.check(), Ok(()), "many it put into some");
        assert_eq!(Accounts { tx_lost: 2, is_final: false, ..good }.check(), Ok(()), "some may be pending");
        assert_eq!(Accounts { tx_sent: None, rx_filled: None, tx_lost: 2, rx_lost: 7, ..good }.check(), Ok(()), "nobody counts");
    }
}
