//! One command at a time over a split queue.

use super::queue::{SplitQueue, descriptor};
use crate::host::dma::Iova;
use crate::ring::fault::QueueFault;
use crate::ring::virtq::{F_NEXT, F_WRITE};

impl SplitQueue {
    /// The first descriptor of the command that is the `count`th: pairs of them go round the table in its order.
    fn command_head(&self, count: u16) -> u16 {
        count.wrapping_mul(2) & (self.size() - 1)
    }

    /// Makes a command available, and room for its answer: address and length of each. None is under way. Says whether the device wants to be told.
    pub(in crate::ring) fn send_command(&mut self, [command, answer]: [(Iova, u32); 2]) -> bool {
        let head = self.command_head(self.next_avail);
        let next = (head + 1) & (self.size() - 1);
        self.desc.store(head.into(), descriptor(command.0.0, command.1, F_NEXT, next));
        self.desc.store(next.into(), descriptor(answer.0.0, answer.1, F_WRITE, 0));
        self.make_available(head);
        self.publish()
    }

    /// Whether the device has used the command under way, and then how many bytes it says that it wrote.
    pub(in crate::ring) fn command_done(&mut self) -> Result<Option<u32>, QueueFault> {
        if self.ready()? == 0 {
            return Ok(None);
        }
        let (id, len) = self.used_entry();
        if id != self.command_head(self.next_used).into() {
            return Err(QueueFault::Index { index: id, limit: self.size().into() });
        }
        self.next_used = self.next_used.wrapping_add(1);
        Ok(Some(len))
    }
}
