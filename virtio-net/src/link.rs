//! The state of the link (5.1.4).

use driver_core::device::{ErrorKind, Link};
use driver_core::host::PciFunction;

use crate::regs::{Features, net};
use crate::transport::Transport;

/// Speeds above this are unknown (5.1.4.2).
const MAX_SPEED_MBPS: u32 = 0x7fff_ffff;

/// 5.1.4.2: "If the driver does not negotiate the VIRTIO_NET_F_STATUS feature, it SHOULD assume the link is active". Beside the link, whether the device asks to be
/// announced (5.1.6.5.4).
///
/// Full duplex is 1, as 5.1.4 and every device have it; 5.1.4.1 has it the other way round, in 1.3 and 1.4. What is unknown counts as full.
pub(crate) fn link<F: PciFunction>(transport: &dyn Transport<F>, features: Features) -> Result<(Link, bool), ErrorKind> {
    let has = |feature| features.contains(feature);
    if !has(Features::STATUS) && !has(Features::SPEED_DUPLEX) {
        return Ok((Link::up_at(None), false));
    }
    let (status, speed, duplex) = transport.config(|device| {
        let status = if has(Features::STATUS) { net::STATUS.read(device) } else { net::S_LINK_UP };
        if has(Features::SPEED_DUPLEX) { (status, net::SPEED.read(device), net::DUPLEX.read(device)) } else { (status, u32::MAX, u8::MAX) }
    })?;
    let announces = has(Features::GUEST_ANNOUNCE) && status & net::S_ANNOUNCE != 0;
    if status & net::S_LINK_UP == 0 {
        return Ok((Link::down(), announces));
    }
    let mut link = Link::up_at(Some(speed).filter(|&speed| speed <= MAX_SPEED_MBPS));
    link.full_duplex = duplex != net::DUPLEX_HALF;
    Ok((link, announces))
}
