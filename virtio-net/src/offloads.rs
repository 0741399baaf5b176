//! What the device does for received frames, switched while it runs (5.1.6.5.8).
//!
//! Queues judge frames by what was negotiated, so that those on their way behind a command are still understood, and a frame pays for no switch.

use driver_core::device::{Caps, ErrorKind, Offloads, Settings};
use driver_core::host::PciFunction;

use crate::ctrl::Ctrl;
use crate::large;
use crate::regs::{Features, ctrl};
use crate::transport::Transport;

/// The offloads that this driver negotiates. In the command each has its feature's number.
const SWITCHED: Features = Features::GUEST_CSUM.union(large::ALL);

/// Which offloads are on where these capabilities are wanted: nothing that was not negotiated (5.1.6.5.8.2).
fn offloads_of(wanted: Caps, negotiated: Features) -> Features {
    let mut on = Features::empty();
    on.set(Features::GUEST_CSUM, wanted.contains(Caps::RX_CHECKSUM));
    on.set(large::ALL, wanted.contains(Caps::RX_COALESCING));
    on & negotiated
}

/// Switches on what is wanted, and the rest off.
pub(crate) fn switch<F: PciFunction>(ctrl: &mut Ctrl<F>, transport: &dyn Transport<F>, negotiated: Features, wanted: Caps) -> Result<(), ErrorKind> {
    if wanted.contains(Caps::RX_COALESCING) && !wanted.contains(Caps::RX_CHECKSUM) {
        return Err(NO_SUMS);
    }
    let on = offloads_of(wanted, negotiated);
    ctrl.command(transport, ctrl::GUEST_OFFLOADS_SET, &[&on.bits().to_le_bytes()])
}

/// Tells a device that has just gone live what was switched off since the start: by itself it has all on that was negotiated.
pub(crate) fn restore<F: PciFunction>(
    ctrl: &mut Ctrl<F>,
    transport: &dyn Transport<F>,
    negotiated: Features,
    settings: &Settings,
) -> Result<(), ErrorKind> {
    let mut wanted = Caps::empty();
    wanted.set(Caps::RX_CHECKSUM, settings.offloads().contains(Offloads::RX_CHECKSUM));
    wanted.set(Caps::RX_COALESCING, settings.coalesces());
    let is_told = negotiated.contains(Features::CTRL_GUEST_OFFLOADS) && offloads_of(wanted, negotiated) != negotiated & SWITCHED;
    if is_told { switch(ctrl, transport, negotiated, wanted) } else { Ok(()) }
}

/// The device has no such command.
pub(crate) const FIXED: ErrorKind = ErrorKind::Unsupported {
    what: "changes of what it does for received frames while it runs (no VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)",
    instead: "start it with `Config::offloads` and `Config::rx_coalescing`",
};

/// 5.1.3.1 has none of the one without the other, and neither has a frame that is cut again.
const NO_SUMS: ErrorKind =
    ErrorKind::Unsupported { what: "large frames without their checksums", instead: "switch RX_COALESCING off with RX_CHECKSUM" };
