//! Where this driver vouches that the device reads and writes lent memory no more.

use driver_core::device::ErrorKind;
use driver_core::host::PciFunction;
use driver_core::queue::core::Silence;

use crate::card::Card;

/// The same word once more, for what is kept until the device is started again, or is not any more.
pub(crate) fn once_more(_: &Silence) -> Silence {
    // SAFETY: the device was seen silent, and whoever keeps the word drops it before the device is told of memory again.
    #[allow(unsafe_code, reason = "as below")]
    unsafe {
        Silence::confirmed()
    }
}

/// The device's word that it is silent, if its answer to `Transport::reset` is that it is reset.
pub(crate) fn silence<E>(answer: Result<(), E>) -> Result<Silence, E> {
    // SAFETY: `reset` returns without an error only after the device has confirmed it by device_status 0 (2.4.1, 4.1.4.3.1), and until it is started again a
    // device that was reset uses no queue.
    #[allow(unsafe_code, reason = "only here is it known that the device uses no memory any more")]
    answer.map(|()| unsafe { Silence::confirmed() })
}

/// The device's word that it uses one queue no more, if its answer to `Transport::reset_queue` is that it has reset it.
pub(crate) fn silence_of_queue<E>(answer: Result<(), E>) -> Result<Silence, E> {
    // SAFETY: `reset_queue` returns without an error only after the device has confirmed it by queue_reset 0 and queue_enable 0 (2.6.1.1.1, 4.1.4.3.1): until the queue is
    // enabled again, behind its ring's being made anew, the device uses nothing of it.
    #[allow(unsafe_code, reason = "only here is it known that the device uses the queue no more")]
    answer.map(|()| unsafe { Silence::confirmed() })
}

impl<F: PciFunction> Card<F> {
    /// Lets a device that was reset access memory again, where whoever else reset its function has taken that away.
    pub(crate) fn let_it_reach_memory_again(&self, _: &Silence) -> Result<(), ErrorKind> {
        // SAFETY: the device was reset just now, so that it knows of no memory; what it is told from here on are the areas of queues as they were at the start, which
        // `Rx`, `Tx` and `Ctrl` hold until it was seen to stop.
        #[allow(unsafe_code, reason = "from here on the device accesses memory")]
        unsafe { self.function.lock().allow_dma() }?;
        Ok(())
    }
}
