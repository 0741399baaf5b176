//! Where this driver vouches that the card reads and writes lent memory no more.

use driver_core::device::ErrorKind;
use driver_core::host::PciFunction;
use driver_core::queue::core::Silence;

/// The card's word that it is silent, if its answer is that it stopped: that of `queues::stop_rx` or `queues::stop_tx` for the queue's ring and buffers, that of
/// `Card::stop` or `Card::silence` for all that the card was lent.
pub(crate) fn silence<E>(answer: Result<(), E>) -> Result<Silence, E> {
    // SAFETY: all of them return without an error only after the card has confirmed, in RXDCTL or TXDCTL (4.6.7.1.2, 4.6.8.1.2), in STATUS, or by the end of a
    // reset (5.2.5.3.2), that its memory accesses are over.
    #[allow(unsafe_code, reason = "only here is it known that the card uses no memory any more")]
    answer.map(|()| unsafe { Silence::confirmed() })
}

/// Lets a card that was reset access memory again, where whoever else reset its function has taken that away.
pub(crate) fn let_reach_memory_again(function: &mut impl PciFunction, _: &Silence) -> Result<(), ErrorKind> {
    // SAFETY: the card was reset just now, so that it knows of no memory; what it is told from here on are rings as they were at the start, which their queues hold
    // until it was seen to stop.
    #[allow(unsafe_code, reason = "from here on the card accesses memory")]
    unsafe { function.allow_dma() }?;
    Ok(())
}
