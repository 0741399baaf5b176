//! What queues do in a pause, in which their device is reset and set up anew ([`Seat`](crate::queue::core::seat::Seat) has its steps): they say that they know,
//! empty their rings when they may, count what is lost, and go on. All of it apart from the ways of frames, which find their queue not running and no more.

use crate::queue::core::kernel::{RxKernel, TxKernel};
use crate::queue::core::lent::Silence;
use crate::queue::core::rx::RxCore;
use crate::queue::core::seat::pause::Pause;
use crate::queue::core::tx::TxCore;
use crate::ring::fault::QueueFault;

impl<K: RxKernel> RxCore<K> {
    /// The queue may not work: where its device is being reset it says that it knows, and empties its ring when it may.
    #[cold]
    #[inline(never)]
    pub(super) fn pause(&mut self) {
        if let Pause::Rewind(silence) = self.seat.acknowledge() {
            self.rewind(&silence);
        }
    }

    /// The same, of a call with a hook: nothing is there for it.
    #[cold]
    #[inline(never)]
    pub(super) fn nothing_ready(&mut self) -> Result<usize, QueueFault> {
        self.pause();
        Ok(0)
    }

    fn rewind(&mut self, silence: &Silence) {
        let begun = u64::from(self.partial.take().is_some());
        let lost = begun + self.kernel.rewind(silence);
        self.seat.tally().lost.add(lost);
        self.seat.set_rewound();
    }
}

impl<K: TxKernel> TxCore<K> {
    /// The same. Says why the queue does not work, where it is not a pause, in which who wants to send waits for it to be over.
    pub(super) fn pause(&mut self) -> Option<QueueFault> {
        if let Pause::Rewind(silence) = self.seat.acknowledge() {
            self.rewind(&silence);
        }
        let fault = self.seat.fault();
        if fault.is_none() {
            self.gate.stop();
        }
        fault
    }

    /// The device was reset, and what it had is given up.
    fn rewind(&mut self, silence: &Silence) {
        if let Some(left) = self.seat.left() {
            self.kernel.retire(left, silence);
        }
        let (lost, back) = self.kernel.rewind(silence, &mut self.home);
        self.home.release_spares();
        self.gate.completed(back.bytes);
        self.stuck = None;
        self.seat.tally().lost.add(lost);
        self.seat.set_rewound();
    }

    /// Opens a gate that was closed for a pause, which is over: nothing will come back that would.
    #[cold]
    #[inline(never)]
    pub(super) fn opens_empty(&mut self) -> bool {
        let opens = self.kernel.pending() == 0 && self.gate.after_reclaim(self.kernel.free());
        if opens {
            self.wake();
        }
        opens
    }

    /// A reclaim found nothing.
    #[cold]
    pub(super) fn nothing_came_back(&mut self) {
        if self.kernel.pending() == 0 {
            self.opens_empty();
        } else if self.kernel.owes_report() {
            self.look_for_hang();
        }
    }
}
