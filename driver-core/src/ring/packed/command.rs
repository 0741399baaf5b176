//! One command at a time over a packed queue.

use super::queue::PackedQueue;
use crate::host::dma::Iova;
use crate::ring::fault::QueueFault;
use crate::ring::virtq::{F_NEXT, F_WRITE};

/// The buffer ID of every command.
const ID: u16 = 0;

impl PackedQueue {
    /// Makes a command available, and room for its answer: address and length of each. None is under way. Says whether the device wants to be told.
    pub(in crate::ring) fn send_command(&mut self, pieces: [(Iova, u32); 2]) -> bool {
        for ((iova, len), flags) in pieces.into_iter().zip([F_NEXT, F_WRITE]) {
            self.put(iova.0, u64::from(len) | u64::from(ID) << 32 | u64::from(flags) << 48);
        }
        self.publish()
    }

    /// Whether the device has used the command under way, and then how many bytes it says that it wrote.
    pub(in crate::ring) fn command_done(&mut self) -> Result<Option<u32>, QueueFault> {
        let Some(word) = self.used() else { return Ok(None) };
        let id = (word >> 32) as u16;
        if id != ID {
            return Err(QueueFault::Index { index: id.into(), limit: self.size().into() });
        }
        self.next_used = self.next_used.wrapping_add(2);
        Ok(Some(word as u32))
    }
}
