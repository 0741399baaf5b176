//! VIRTIO_NET_F_CSUM and VIRTIO_NET_F_GUEST_CSUM.

use super::rig::{Rig, bytes_of, numbered, small, without};
use driver_core::buf::{Batch, Checksum, meta};
use driver_core::device::{Caps, Config, NetDevice, Offloads};
use driver_core::offload::{Crc32c, OffloadError, Work};
use driver_core::queue::{Refusal, RxQueue, TxQueue, TxState};
use sim::virtio_net::{RxChecksum, VirtioNetOptions as Options};
use virtio_net::Features;

/// The sum of big-endian words, with end-around carry.
fn sum(bytes: &[u8]) -> u16 {
    let total: u64 = bytes.chunks(2).map(|pair| u64::from(pair[0]) * 256 + u64::from(pair.get(1).copied().unwrap_or(0))).sum();
    let folded = (total % 0xffff) as u16;
    if folded == 0 && total > 0 { 0xffff } else { folded }
}

#[test]
fn a_partial_checksum_is_completed_by_the_device() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small());
    let mut batch = Batch::new(4);
    for len in [80, 81, 1500] {
        let mut frame = parts.pool.frame_from(&numbered(len as u32, len)).unwrap();
        frame.data_mut()[50..52].fill(0);
        let before = bytes_of(&frame);
        frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
        batch.push(frame).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(20);
        let arrived = rig.arrived().remove(0);
        // With its checksum in place, the sum is that of a whole frame.
        assert_eq!(sum(&arrived[34..]), 0xffff);
        assert_ne!(arrived[50..52], [0, 0]);
        assert_eq!((&arrived[..50], &arrived[52..]), (&before[..50], &before[52..]));
    }
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn a_checksum_outside_the_frame_is_refused() {
    let rig = Rig::new();
    let mut parts = rig.parts(&small());
    let mut batch = Batch::new(4);
    for (start, offset) in [(90, 9), (99, 0), (u16::MAX, u16::MAX)] {
        let mut frame = parts.pool.frame_from(&numbered(1, 100)).unwrap();
        frame.set_checksum(Checksum::Partial { start, offset });
        batch.push(frame).unwrap();
        let place = OffloadError::Place { start, offset, len_bytes: 100 };
        assert_eq!(parts.tx.submit(&mut batch), TxState::Refused(Refusal::Checksum(place)));
        batch.clear();
    }
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn what_the_device_knows_of_a_received_checksum_is_handed_up() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small());
    let mut batch = Batch::new(4);
    let said = [
        (RxChecksum::None, Checksum::Unknown),
        (RxChecksum::Valid, Checksum::Good),
        (RxChecksum::Partial { start: 34, offset: 6 }, Checksum::Partial { start: 34, offset: 6 }),
    ];
    for (device, wanted) in said {
        rig.model(|m| m.rx_checksum = device);
        // Nothing in the checksum's place but the sum of a pseudo header, here zero.
        let mut sent = numbered(1, 100);
        sent[40..42].fill(0);
        rig.send(&sent);
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 4), 1);
        assert_eq!(batch.frames()[0].checksum(), wanted);
        assert_eq!(bytes_of(&batch.frames()[0]), sent);
        // Forwarded, a partial checksum is completed on its way out.
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(20);
        let whole = sum(&rig.arrived()[0][34..]) == 0xffff;
        assert_eq!(whole, wanted != Checksum::Unknown && wanted != Checksum::Good);
    }
    drop((parts, batch));
    rig.assert_clean();
}

/// The model as a tap of local origin: UDP and TCP with right checksums arrive without them, and all else as it is.
#[test]
fn checksums_of_local_origin_arrive_partial_and_are_filled_in_again() {
    let mut rig = Rig::with(Options::new().rx_checksum(RxChecksum::Local));
    let mut parts = rig.parts(&small());
    let mut batch = Batch::new(4);
    // RFC 768 over RFC 791: addresses 10.0.0.1 and 10.0.0.2, ports 1234 and 7, four bytes.
    let mut right = numbered(1, 18);
    right.truncate(12);
    right.extend([0x08, 0x00]);
    right.extend([0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17, 0x26, 0xcb, 10, 0, 0, 1, 10, 0, 0, 2]);
    right.extend([0x04, 0xd2, 0, 7, 0, 12, 0, 0, 1, 2, 3, 4]);
    // The pseudo header: addresses, protocol, length.
    let pseudo = sum(&[&right[26..34], &[0, 17, 0, 12]].concat());
    let whole = !sum(&[&right[26..46], &[0, 17, 0, 12]].concat());
    right[40..42].copy_from_slice(&whole.to_be_bytes());
    right.resize(60, 0);
    let changed = |at: usize, value: u8| {
        let mut bytes = right.clone();
        bytes[at] = value;
        bytes
    };
    // A wrong checksum, none, a fragment, another protocol, a tag, bytes behind the packet.
    let mut without = right.clone();
    without[40..42].fill(0);
    let others = [changed(45, 9), without, changed(21, 1), changed(23, 1), changed(12, 0x81), changed(59, 1)];
    for sent in [&right].into_iter().chain(&others) {
        rig.send(sent);
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 4), 1);
        let frame = &mut batch.frames_mut()[0];
        if sent == &right {
            let mut left = right.clone();
            left[40..42].copy_from_slice(&pseudo.to_be_bytes());
            assert_eq!((bytes_of(frame), frame.checksum()), (left, Checksum::Partial { start: 34, offset: 6 }));
            assert_eq!(frame.fill_in_checksum(), Ok(true));
        } else {
            assert_eq!(frame.checksum(), Checksum::Unknown);
        }
        assert_eq!(&bytes_of(frame), sent);
        batch.clear();
    }
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn a_received_checksum_outside_the_frame_is_an_error_of_that_frame() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small());
    rig.model(|m| m.rx_checksum = RxChecksum::Partial { start: 90, offset: 9 });
    rig.send(&numbered(1, 100));
    rig.send(&numbered(2, 101));
    rig.run_us(20);
    assert_eq!(parts.receive(), [numbered(2, 101)]);
    rig.model(|m| m.rx_checksum = RxChecksum::None);
    rig.faults(|faults| faults.gso_type = Some(1));
    rig.send(&numbered(3, 100));
    rig.run_us(20);
    assert!(parts.receive().is_empty(), "segments were not negotiated");
    assert_eq!((parts.control.stats().rx_frame_errors, parts.rx.fault()), (2, None));
    drop(parts);
    rig.assert_clean();
}

/// A device that was not asked for GUEST_CSUM, since it does not offer it or since the configuration does not want it.
fn without_received_checksums() -> [(Rig, Config); 2] {
    [(Rig::with(without(Features::GUEST_CSUM)), small()), (Rig::new(), small().offloads(Offloads::all() - Offloads::RX_CHECKSUM))]
}

#[test]
fn without_the_feature_nothing_is_said() {
    for (rig, config) in without_received_checksums() {
        nothing_is_said(rig, &config);
    }
}

fn nothing_is_said(mut rig: Rig, config: &Config) {
    let mut parts = rig.parts(config);
    assert_eq!(parts.control.kernel().features() & (Features::GUEST_CSUM | Features::CSUM), Features::CSUM);
    assert_eq!(parts.control.info().used_caps & (Caps::RX_CHECKSUM | Caps::TX_CHECKSUM), Caps::TX_CHECKSUM);
    let mut batch = Batch::new(4);
    // Flags of a device that forgot what was negotiated: NEEDS_CSUM, DATA_VALID, both.
    for flags in [0, 1, 2, 3] {
        rig.faults(|faults| faults.rx_flags = Some(flags));
        rig.send(&numbered(1, 100));
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 4), 1);
        assert_eq!(batch.frames()[0].checksum(), Checksum::Unknown);
        batch.clear();
    }
    drop((parts, batch));
    rig.assert_clean();
}

/// Where the device does not offer it, and where the configuration does not want it of the device.
#[test]
fn a_checksum_that_the_device_does_not_fill_in_is_filled_in_by_software() {
    let unwanted = small().offloads(Offloads::all() - Offloads::TX_CHECKSUM);
    for (mut rig, config) in [(Rig::new(), unwanted), (Rig::with(without(Features::CSUM)), small())] {
        let mut parts = rig.parts(&config);
        assert_eq!(parts.control.kernel().features() & (Features::GUEST_CSUM | Features::CSUM), Features::GUEST_CSUM);
        let mut batch = Batch::new(4);
        for len in [80, 81, 1514] {
            let before = numbered(len as u32, len);
            let mut frame = parts.pool.frame_from(&before).unwrap();
            frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
            batch.push(frame).unwrap();
            assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
            rig.run_us(20);
            let mut wanted = before.clone();
            wanted[50..52].copy_from_slice(&(!sum(&before[34..])).to_be_bytes());
            assert_eq!(rig.arrived(), [wanted]);
        }
        drop((parts, batch));
        rig.assert_clean();
    }
}

#[test]
fn what_is_not_wanted_of_the_device_is_told() {
    let rig = Rig::new();
    let parts = rig.parts(&small().offloads(Offloads::all() - Offloads::TX_CHECKSUM));
    assert_eq!(parts.control.info().unused_caps(), Caps::TX_CHECKSUM | Caps::VLAN_FILTERS | Caps::INTERRUPTS);
    assert_eq!(parts.control.info().software_caps(), Caps::SOFTWARE);
    assert_eq!(parts.control.info().unused_features, ["CSUM", "CTRL_VLAN", "CTRL_RX_EXTRA"]);
    drop(parts);
    let parts = rig.parts(&small().offloads(Offloads::empty()));
    assert_eq!(parts.control.info().unused_caps(), Caps::RX_CHECKSUM | Caps::TX_CHECKSUM | Caps::RX_SCATTER | Caps::VLAN_FILTERS | Caps::INTERRUPTS);
    drop(parts);
    let parts = rig.parts(&small().interrupts(true));
    assert_eq!(parts.control.info().unused_caps(), Caps::VLAN_FILTERS, "nobody asked for one");
    drop(parts);
    rig.assert_clean();
}

/// A tag that a frame asks for, or that another card took out of it on receive, goes in by software; a checksum that goes with it is filled in by whoever
/// does that: the device finds its place moved.
#[test]
fn a_tag_goes_in_by_software_and_the_checksum_behind_it_by_the_device() {
    for features in [Features::empty(), Features::CSUM] {
        let mut rig = Rig::with(without(features));
        let mut parts = rig.parts(&small());
        let mut batch = Batch::new(8);
        let mut wanted = Vec::new();
        for (len, is_summed) in [(60, false), (100, true), (101, true), (1514, false), (1514, true)] {
            let bytes = numbered(len as u32, len);
            let mut out = bytes.clone();
            let mut frame = parts.pool.frame_from(&bytes).unwrap();
            frame.set_received([0, 0x6123 << meta::VLAN_SHIFT | (len as u64) << meta::LEN_SHIFT | meta::VLAN_VALID]).unwrap();
            if is_summed {
                frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
                out[50..52].copy_from_slice(&(!sum(&bytes[34..])).to_be_bytes());
            }
            out.splice(12..12, [0x81, 0x00, 0x61, 0x23]);
            wanted.push(out);
            batch.push(frame).unwrap();
        }
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(50);
        assert_eq!(rig.arrived(), wanted);
        assert_eq!(parts.tx.counters().bounced, 0);
        drop((parts, batch));
        rig.assert_clean();
    }
}

/// What the device does is left to it, whatever software is to do.
#[test]
fn what_neither_the_device_nor_software_is_to_do_is_refused_by_name() {
    let (sum, crc, tag) = (Work::CHECKSUM, Work::SCTP_CRC, Work::VLAN);
    let on_its_own = small().offloads(Offloads::all() - Offloads::TX_CHECKSUM);
    let table = [
        (small(), Caps::empty(), crc | tag, Caps::empty()),
        (small(), Caps::TX_VLAN_INSERT, crc, Caps::TX_VLAN_INSERT),
        (small(), Caps::TX_SCTP_CRC, tag, Caps::TX_SCTP_CRC),
        (on_its_own.clone(), Caps::empty(), sum | crc | tag, Caps::empty()),
        (on_its_own.clone(), Caps::TX_CHECKSUM, crc | tag, Caps::TX_CHECKSUM),
        (on_its_own, Caps::SOFTWARE, Work::empty(), Caps::SOFTWARE),
    ];
    for (config, software, off, told) in table {
        let mut rig = Rig::new();
        let mut parts = rig.parts(&config.software(software));
        assert_eq!(parts.control.info().software_caps(), told);
        for asked in [sum, crc, tag, sum | tag, crc | tag] {
            let bytes = numbered(1, 100);
            let (mut batch, mut asking) = (Batch::new(1), parts.pool.frame_from(&bytes).unwrap());
            if asked.contains(sum) {
                asking.set_checksum(Checksum::Partial { start: 34, offset: 16 });
            }
            if asked.contains(crc) {
                asking.set_checksum(Checksum::PartialSctp { start: 34 });
            }
            asking.set_vlan(asked.contains(tag).then_some(5));
            batch.push(asking).unwrap();
            let (state, left) = (parts.tx.submit(&mut batch), asked & off);
            let wanted = if left.is_empty() { TxState::Running } else { TxState::Refused(Refusal::SwitchedOff(left)) };
            rig.run_us(20);
            assert_eq!((state, batch.len(), rig.arrived().len()), (wanted, usize::from(!left.is_empty()), usize::from(left.is_empty())));
            assert!(batch.frames().iter().all(|frame| frame.data() == bytes && Work::of(frame) == asked), "it is as it was");
        }
        drop(parts);
        rig.assert_clean();
    }
}

/// A virtio device knows ones' complement sums alone (5.1.6.2).
#[test]
fn software_fills_in_the_crc_of_sctp() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small());
    assert_eq!(parts.control.info().software_caps(), Caps::SOFTWARE - Caps::TX_CHECKSUM);
    let mut batch = Batch::new(4);
    let mut wanted = Vec::new();
    for len in [46, 59, 60, 300] {
        let bytes = numbered(9, len);
        let mut frame = parts.pool.frame_from(&bytes).unwrap();
        frame.set_checksum(Checksum::PartialSctp { start: 34 });
        batch.push(frame).unwrap();
        let mut filled = bytes;
        filled[42..46].fill(0);
        let mut crc = Crc32c::new();
        crc.add(&filled[34..]);
        filled[42..46].copy_from_slice(&crc.value().to_le_bytes());
        // Padding comes last: it is no part of the packet.
        filled.resize(len.max(60), 0);
        wanted.push(filled);
    }
    assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
    rig.run_us(20);
    assert_eq!(rig.arrived(), wanted);
    drop((parts, batch));
    rig.assert_clean();
}
