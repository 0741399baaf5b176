//! The state of the link (5.1.4).

use driver_core::device::{ErrorKind, Link};
use driver_core::host::PciFunction;

use crate::regs::{Features, net};
use crate::transport::Transport;

/// 5.1.4.2: "If the driver does not negotiate the VIRTIO_NET_F_STATUS feature, it SHOULD assume the link is active". Speed is not told.
pub(crate) fn link<F: PciFunction>(transport: &dyn Transport<F>, features: Features) -> Result<Link, ErrorKind> {
    let up = !features.contains(Features::STATUS) || transport.config(|device| net::STATUS.read(device))? & net::S_LINK_UP != 0;
    Ok(if up { Link::up_at(None) } else { Link::down() })
}
