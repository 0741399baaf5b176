//! How far apart interrupts are (5.1.6.5.9): the device lets a queue's wait until so much time has passed since its first frame.

use driver_core::device::{ErrorKind, Moderation, Settings};
use driver_core::host::PciFunction;

use crate::card::Card;
use crate::ctrl::Ctrl;
use crate::regs::{Features, ctrl, net};

/// The longest interval, in microseconds. Devices count 32 bits of them, but a transmit queue that hears of nothing for longer would pass for one that hangs.
pub(crate) const MAX_MODERATION_US: u32 = 100_000;

/// struct virtio_net_ctrl_coal for a queue with `ring_len` descriptors: `max_packets`, `max_usecs`.
///
/// Half a ring of frames does not wait any longer, so that no queue runs dry or full while its interrupt does. Zeros: interrupts as they come.
/// [`Moderation::Adaptive`] is that as well: the interval changes by a command, and queues send none.
fn limits(moderation: Moderation, ring_len: u32) -> [u8; 8] {
    let us = match moderation {
        Moderation::Fixed { us } => us,
        _ => 0,
    };
    let packets = if us == 0 { 0 } else { (ring_len / 2).max(1) };
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&packets.to_le_bytes());
    bytes[4..].copy_from_slice(&us.to_le_bytes());
    bytes
}

/// Whether the device keeps intervals.
pub(crate) fn has(features: Features) -> bool {
    features.intersects(Features::NOTF_COAL | Features::VQ_NOTF_COAL)
}

impl<F: PciFunction> Card<F> {
    /// Sets how far apart the interrupts of all queues are, where the device can.
    pub(crate) fn coalesce(&self, ctrl: &mut Ctrl<F>, features: Features, moderation: Moderation, settings: &Settings) -> Result<(), ErrorKind> {
        let (rx, tx) = (settings.rx(), settings.tx());
        let (of_rx, of_tx) = (limits(moderation, rx.ring_len()), limits(moderation, tx.ring_len()));
        if features.contains(Features::NOTF_COAL) {
            ctrl.command(&*self.transport, ctrl::NOTF_COAL_RX_SET, &[&of_rx])?;
            return ctrl.command(&*self.transport, ctrl::NOTF_COAL_TX_SET, &[&of_tx]);
        }
        if features.contains(Features::VQ_NOTF_COAL) {
            let receive = (0..rx.queue_count()).map(|pair| (net::receiveq(pair), &of_rx));
            let transmit = (0..tx.queue_count()).map(|pair| (net::transmitq(pair), &of_tx));
            for (index, limits) in receive.chain(transmit) {
                // vq_index, and what is reserved.
                ctrl.command(&*self.transport, ctrl::NOTF_COAL_VQ_SET, &[&index.to_le_bytes(), &[0; 2], limits])?;
            }
        }
        Ok(())
    }
}
