//! Flow control on the link, and what becomes of frames for a receive queue that has no buffers.

use bitflags::bitflags;

bitflags! {
    /// Pause frames (IEEE 802.3 annex 31B), by direction.
    ///
    /// Off unless asked for: with `SEND` an application that stops polling stops whoever sends on its link, and a switch between them for all its other ports.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct FlowControl: u32 {
        /// Pause frames that come in hold the transmitter back for the time that they say (ethtool's `rx`).
        const OBEY = 1 << 0;
        /// Where the device's own buffer fills up it sends pause frames (ethtool's `tx`).
        const SEND = 1 << 1;
    }
}

/// What becomes of a frame for a receive queue that has no buffer left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// With one queue, or where the port sends pause frames, it waits; else it is dropped.
    #[default]
    Auto,
    /// It is dropped and counted, and no other queue is the worse for it.
    Drop,
    /// It waits in the device's buffer until there is one. So do all frames behind it, for whichever queue.
    Wait,
}

impl Overflow {
    /// Whether a queue of `queues` drops.
    pub const fn drops(self, queues: u16, flow_control: FlowControl) -> bool {
        match self {
            Self::Auto => queues > 1 && !flow_control.contains(FlowControl::SEND),
            Self::Drop => true,
            Self::Wait => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_queue_waits_and_several_do_not_hold_each_other_up() {
        let off = FlowControl::OBEY;
        assert_eq!([1, 2].map(|queues| Overflow::Auto.drops(queues, off)), [false, true]);
        assert!(!Overflow::Auto.drops(2, FlowControl::SEND), "what was dropped would make no pause frame");
        assert!(Overflow::Drop.drops(1, FlowControl::SEND) && !Overflow::Wait.drops(9, off));
    }
}
