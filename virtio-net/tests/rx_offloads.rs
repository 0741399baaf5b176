//! What the device does for received frames, switched while it runs (VIRTIO_NET_F_CTRL_GUEST_OFFLOADS).

use super::rig::{Parts, Rig, numbered, small};
use crate::packets::{Packet, TCP, cut_by_software};
use driver_core::buf::{Batch, Checksum};
use driver_core::device::{Caps, Config, ErrorKind, NetDevice, Offloads};
use driver_core::queue::RxQueue;
use sim::virtio_net::{RxChecksum, VirtioNetOptions as Options};
use virtio_net::{Features, HardwareError};

/// VIRTIO_NET_CTRL_GUEST_OFFLOADS.
const CLASS: u8 = 5;
const BOTH: Caps = Caps::RX_CHECKSUM.union(Caps::RX_COALESCING);

fn options() -> Options {
    Options::new().large_receive(true).guest_offloads(true).rx_checksum(RxChecksum::Valid)
}

fn large() -> Config {
    small().rx_coalescing(true)
}

/// Three segments and a frame: how many come up, and what the last is told of its checksum.
fn seen(rig: &mut Rig, parts: &mut Parts) -> (usize, Checksum) {
    let packet = Packet::new(TCP, false, 3000);
    let mut frame = packet.in_pieces(&crate::packets::pool(), packet.header_bytes(), 2048);
    frame.set_segmentation(Some(packet.cut(1000)));
    cut_by_software(&frame).iter().for_each(|segment| rig.send(segment));
    rig.send(&numbered(1, 60));
    rig.run_us(100);
    let mut batch = Batch::new(64);
    parts.rx.poll(&mut batch, 64);
    (batch.len(), batch.frames().last().unwrap().checksum())
}

#[test]
fn checksums_and_large_frames_come_and_go_while_it_runs() {
    let mut rig = Rig::with(options());
    let mut parts = rig.parts(&large());
    assert_eq!(seen(&mut rig, &mut parts), (2, Checksum::Good), "as it was started");
    for (wanted, now) in [
        (Caps::RX_CHECKSUM, (4, Checksum::Good)),
        (BOTH, (2, Checksum::Good)),
        (Caps::empty(), (4, Checksum::Unknown)),
        (Caps::empty(), (4, Checksum::Unknown)),
        (BOTH, (2, Checksum::Good)),
    ] {
        parts.control.set_rx_offloads(wanted).unwrap();
        assert_eq!(seen(&mut rig, &mut parts), now, "{wanted:?}");
        let settings = parts.control.settings();
        assert_eq!(settings.offloads().contains(Offloads::RX_CHECKSUM), wanted.contains(Caps::RX_CHECKSUM));
        assert_eq!(settings.coalesces(), wanted.contains(Caps::RX_COALESCING));
    }
    drop(parts);
    rig.assert_clean();
}

/// What was switched off stays off behind a reset, which switches all on in the device.
#[test]
fn a_recovery_leaves_them_as_they_were_set() {
    let mut rig = Rig::with(options());
    let mut parts = rig.parts(&large());
    parts.control.set_rx_offloads(Caps::RX_CHECKSUM).unwrap();
    for round in 0..2 {
        super::recovers::recovers_from_needs_reset(&rig, &mut parts);
        let commands = rig.model(|model| model.counters().commands);
        let now = if round == 0 { (4, Checksum::Good) } else { (2, Checksum::Good) };
        assert_eq!(seen(&mut rig, &mut parts), now, "round {round}");
        parts.control.set_rx_offloads(BOTH).unwrap();
        assert_eq!(rig.model(|model| model.counters().commands), commands + 1);
    }
    drop(parts);
    rig.assert_clean();
}

#[test]
fn what_was_not_negotiated_is_not_switched_on() {
    let kinds = Features::GUEST_TSO4 | Features::GUEST_USO6;
    let mut rig = Rig::with(options().without(kinds.bits()));
    let mut parts = rig.parts(&large());
    // The model notes an offload that was not negotiated.
    parts.control.set_rx_offloads(BOTH).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), (4, Checksum::Good));
    let error = parts.control.set_rx_offloads(Caps::RX_COALESCING).unwrap_err();
    assert!(error.to_string().contains("switch RX_COALESCING off with RX_CHECKSUM"), "{error}");
    drop(parts);
    rig.assert_clean();

    let mut rig = Rig::with(options());
    let mut parts = rig.parts(&small());
    let error = parts.control.set_rx_offloads(BOTH).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    assert_eq!(seen(&mut rig, &mut parts), (4, Checksum::Good));
    drop(parts);
    rig.assert_clean();
}

#[test]
fn a_device_without_the_command_or_that_refuses_it_stays_as_it_is() {
    let mut rig = Rig::with(options().guest_offloads(false));
    let mut parts = rig.parts(&large());
    let error = parts.control.set_rx_offloads(Caps::empty()).unwrap_err();
    assert!(error.to_string().contains("no VIRTIO_NET_F_CTRL_GUEST_OFFLOADS"), "{error}");
    assert_eq!(seen(&mut rig, &mut parts), (2, Checksum::Good));
    drop(parts);
    rig.assert_clean();

    let mut rig = Rig::with(options());
    let mut parts = rig.parts(&large());
    rig.faults(|faults| faults.ctrl_refuse_after = Some((CLASS, 0)));
    let error = parts.control.set_rx_offloads(Caps::empty()).unwrap_err();
    assert!(matches!(error.hardware(), Some(HardwareError::CommandRefused { .. })), "{error}");
    assert!(parts.control.settings().coalesces());
    assert_eq!(seen(&mut rig, &mut parts), (2, Checksum::Good));
    drop(parts);
    rig.assert_clean();
}
