//! Configuration space, reset, EEPROM, semaphores, and what the datasheet forbids, by raw register access.

use crate::common::{Card, MAC};
use driver_core::host::{Bar, PciFunction, RegSpace};
use sim::ixgbe::{Faults, IxgbeOptions};

const CTRL: u32 = 0x0;
const EERD: u32 = 0x10014;

fn with_faults(change: impl FnOnce(&mut Faults)) -> Card {
    let card = Card::new();
    card.faults(change);
    card
}

#[test]
fn values_after_reset() {
    let card = Card::up();
    let values = [
        (0x00008, 1 << 19 | 1 << 7, "STATUS: master enable status, link up"),
        (0x10010, 0x2C10 | 1 << 8 | 1 << 9, "EEC: present, read, 2048 words, 16 bits of address"),
        (0x02F00, 0x10_0008, "RDRXCTL: DMAIDONE, RSCFRSTSIZE 8"),
        (0x04240, 0x0801_2C0B, "HLREG0"),
        (0x04268, 0x05EE_0000, "MAXFRS"),
        (0x05088, 0x8100, "VLNCTRL"),
        (0x03C00, 0x8_0000, "RXPBSIZE[0]"),
        (0x0CC00, 0x2_8000, "TXPBSIZE[0]"),
        (0x02100, 0x402, "SRRCTL[0] at its old offset"),
        (0x01014, 0x402, "SRRCTL[0]"),
        (0x0D000 + 63 * 0x40 + 0x14, 0x402, "SRRCTL[127]"),
        (0x04A80, 0x8100_0000, "DMATXCTL"),
        (0x05080, 0, "FCTRL"),
        (0x00880, 0, "EIMS"),
        (0x05400, u32::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3]]), "RAL[0]"),
        (0x0A204, 1 << 31 | u32::from_le_bytes([MAC[4], MAC[5], 0, 0]), "RAH[0]"),
        (0x0A20C, 0, "RAH[1]"),
    ];
    for (offset, value, name) in values {
        assert_eq!(card.r(offset), value, "{name}");
    }
    card.expect_violations(&[]);
}

#[test]
fn software_reset() {
    let card = Card::up();
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.w(0x5080, 1 << 10);
    card.w(CTRL, 1 << 26);
    assert_ne!(card.r(CTRL) & 1 << 26, 0, "it takes a moment");
    assert_eq!(card.r(0x8) & 1 << 7, 0, "the link is down");
    card.expect_violations(&[]);
    let _ = card.r(0x5080);
    card.expect_violations(&["a register was accessed during a reset"]);
    card.device.advance_us(5);
    assert_eq!(card.r(CTRL) & 1 << 26, 0, "it clears itself");
    assert_eq!((card.r(0x5080), card.r(ring.block), card.r(ring.block + 0x28)), (0, 0, 0));
    assert_eq!((card.r(0x10010) & 1 << 9, card.r(0x2F00) & 1 << 3), (0, 0), "EEC.AUTO_RD and DMAIDONE come later");
    card.device.advance_us(100);
    assert_eq!((card.r(0x10010) & 1 << 9, card.r(0x2F00) & 1 << 3), (1 << 9, 1 << 3));
    card.expect_violations(&[]);
}

#[test]
fn faults_keep_handshakes_open() {
    let card = with_faults(|faults| {
        (faults.reset_stuck, faults.no_auto_read, faults.no_dma_init, faults.master_stuck) = (true, true, true, true);
    });
    card.device.advance_us(1000);
    card.device.step();
    assert_eq!((card.r(0x10010) & 1 << 9, card.r(0x2F00) & 1 << 3), (0, 0));
    card.w(CTRL, 1 << 2);
    assert_ne!(card.r(0x8) & 1 << 19, 0, "the master enable status stays");
    card.faults(|faults| faults.master_stuck = false);
    assert_eq!(card.r(0x8) & 1 << 19, 0);
    card.w(CTRL, 1 << 26);
    card.device.advance_us(1_000_000);
    assert_ne!(card.r(CTRL) & 1 << 26, 0);
}

fn eeprom_word(card: &Card, word: u32) -> u16 {
    card.w(EERD, word << 2 | 1);
    assert_eq!(card.r(EERD) & 2, 0, "the read takes a moment");
    card.device.step();
    let value = card.r(EERD);
    assert_eq!((value & 2, value >> 2 & 0x3FFF), (2, word));
    (value >> 16) as u16
}

fn eeprom_sum(card: &Card) -> u16 {
    let mut sum = (0..=0x3F).fold(0u16, |sum, word| sum.wrapping_add(eeprom_word(card, word)));
    for pointer in 3..0xF {
        let at = eeprom_word(card, pointer);
        if at != 0 && at != 0xFFFF {
            let len = eeprom_word(card, at.into());
            sum = (1..=len).fold(sum, |sum, i| sum.wrapping_add(eeprom_word(card, (at + i).into())));
        }
    }
    sum
}

#[test]
fn eeprom() {
    let card = Card::up();
    assert_eq!(eeprom_sum(&card), 0xBABA);
    let core = u32::from(eeprom_word(&card, 9));
    let mac: Vec<u8> = (1..=3).flat_map(|i| eeprom_word(&card, core + i).to_le_bytes()).collect();
    assert_eq!(mac, MAC);
    card.faults(|faults| faults.eeprom_corrupt = true);
    assert_ne!(eeprom_sum(&card), 0xBABA);
    card.expect_violations(&[]);
}

#[test]
fn semaphores() {
    let card = Card::up();
    let (swsm, sync) = (0x10140, 0x10160);
    assert_eq!([card.r(swsm) & 1, card.r(swsm) & 1], [0, 1], "a read takes SMBI");
    card.w(swsm, 2);
    assert_eq!(card.r(swsm) & 2, 2, "SWESMBI is granted");
    card.w(sync, 1);
    card.expect_violations(&[]);
    card.w(swsm, 0);
    card.w(sync, 0);
    card.expect_violations(&["SW_FW_SYNC was written without SWSM.SWESMBI"]);
    let copper = Card::with(IxgbeOptions::new().device(0x1528));
    assert_eq!([copper.r(sync), copper.r(sync)], [0, 1 << 31], "the X540's is taken by a read");
    copper.w(sync, 0);
    assert_eq!(copper.r(sync), 0);
}

#[test]
fn mdio_of_the_x540() {
    let card = Card::with(IxgbeOptions::new().device(0x1528));
    let read = |phy: u32, device: u32, register: u32| {
        card.w(0x425C, 1 << 30 | phy << 21 | device << 16 | register);
        card.w(0x425C, 1 << 30 | 3 << 26 | phy << 21 | device << 16 | register);
        assert_eq!(card.r(0x425C) & 1 << 30, 0, "the command is done");
        card.r(0x4260) >> 16
    };
    assert_eq!((read(0, 1, 2), read(0, 1, 3)), (0x0154, 0x0200));
    assert_eq!(read(1, 1, 2), 0xFFFF, "nothing else on the bus");
}

#[test]
fn configuration_space() {
    let mut card = Card::new();
    let function = &card.function;
    let id = function.id().unwrap();
    assert_eq!((id.vendor, id.device, id.class), (0x8086, 0x10FB, 0x02_0000));
    // 9.3: power management, MSI, MSI-X, PCI Express.
    let found: Vec<_> = [1, 5, 0x11, 0x10].map(|id| function.find_capability(id, None).unwrap()).to_vec();
    assert_eq!(found, [Some(0x40), Some(0x50), Some(0x70), Some(0xA0)]);
    assert_eq!(function.find_capability(0x09, None).unwrap(), None);
    assert_eq!(function.config_read(0x72, 2).unwrap() & 0x7FF, 63, "64 vectors");
    assert_eq!(function.interrupt_count(), 64);
    for (offset, size) in [(0x10, 512 * 1024u32), (0x20, 16 * 1024)] {
        card.config_write(offset, 4, !0);
        card.config_write(offset + 4, 4, !0);
        let function = &card.function;
        assert_eq!(function.config_read(offset, 4).unwrap(), !(size - 1) | 4, "64-bit memory of this size");
        assert_eq!(function.config_read(offset + 4, 4).unwrap(), !0);
    }
    let function = &mut card.function;
    assert_eq!(function.config_read(0x14C, 4).map_err(|_| ()), Ok(0));
    assert!(function.config_read(0x13, 2).is_err() && function.config_read(0x1000, 4).is_err());
    // SAFETY: it is not there.
    assert!(unsafe { function.open_bar(2) }.is_err());
    assert!(card.bar.doorbell(512 * 1024).is_err() && card.bar.doorbell(2).is_err());
    assert_eq!((card.r(512 * 1024), card.r(2)), (!0, !0), "outside, and not aligned");
    card.config_write(4, 2, 4);
    assert_eq!(card.r(0x8), !0, "memory decoding is off");
}

#[test]
fn function_level_reset() {
    let mut card = Card::up();
    card.w(0x5080, 1 << 10);
    card.function.reset().unwrap();
    assert_eq!(card.r(0x5080), 0);
    assert_eq!(card.function.config_read(4, 2).unwrap() & 6, 2, "decoding is restored, and DMA waits for the driver");
    card.w(0x5080, 1 << 10);
    card.config_write(0xA8, 2, 1 << 15);
    assert_eq!(card.function.config_read(4, 2).unwrap() & 6, 0, "the bare reset clears the command register");
    card.config_write(4, 2, 6);
    assert_eq!(card.r(0x5080), 0);
}

#[test]
fn queues_go_up_and_down_with_a_handshake() {
    let card = Card::up();
    let ring = card.ring(0xD000, 64);
    card.w(0xD028, 1 << 25);
    assert_eq!(card.r(0xD028), 0);
    card.tail(&ring, 1);
    card.expect_violations(&["the tail was written while the queue is not enabled"]);
    card.device.step();
    assert_eq!(card.r(0xD028), 1 << 25);
    card.w(0xD028, 0);
    assert_eq!(card.r(0xD028), 1 << 25, "until accesses under way are done");
    card.device.step();
    assert_eq!(card.r(0xD028), 0);
    card.tail(&ring, 0);
    card.expect_violations(&[]);
    card.faults(|faults| faults.queue_disable_stuck = true);
    card.enable(&ring);
    card.w(0xD028, 0);
    card.settle();
    assert_eq!(card.r(0xD028), 1 << 25);
    card.faults(|faults| faults.queue_enable_stuck = true);
    assert_eq!(card.r(0xD028), 1 << 25, "a queue that is on stays on");
    card.ring(0xD040, 64);
    card.w(0xD068, 1 << 25);
    card.settle();
    assert_eq!(card.r(0xD068), 0, "and no other comes on");
}

#[test]
fn what_is_forbidden() {
    let card = Card::up();
    let forbidden = |offset: u32, value: u32, what: &[&str]| {
        card.w(offset, value);
        card.expect_violations(what);
    };
    forbidden(0x1000, 0x40, &["the ring's base is not aligned to 128 bytes"]);
    forbidden(0x1008, 100, &["the ring's length is not a multiple of 128 bytes up to 128 KiB"]);
    forbidden(0x1008, 256 * 1024, &["the ring's length is not a multiple of 128 bytes up to 128 KiB"]);
    forbidden(0x1018, 5, &["the tail was written while the queue is not enabled"]);
    forbidden(0x1010, 0, &[]);
    forbidden(0x1FFFC, 1, &["a reserved register was written"]);
    forbidden(0x1020, 1, &["a reserved register was written"]);
    forbidden(0x6014, 1, &["a reserved register was written"]);
    forbidden(0x4268, 20 << 16, &["MAXFRS.MFS is not between 64 and 0x2600"]);
    forbidden(0x8120, 1 << 2, &["MTQC was changed without RTTDCS.ARBDIS"]);
    forbidden(0x8, 1, &[]);
    card.bar.write8(0x5080, 1);
    card.expect_violations(&["a register was written with less than 32 bits"]);
    forbidden(0x6028, 1 << 25, &["a queue was enabled without a ring length", "a transmit queue was enabled before DMATXCTL.TE"]);
    let _ring = card.ring(0x1040, 64);
    card.w(0x1068, 1 << 25);
    card.device.step();
    for offset in [0x1040, 0x1044, 0x1048, 0x1050, 0x1054] {
        forbidden(offset, card.r(offset), &["a ring was changed while its queue is enabled"]);
    }
    forbidden(0x1058, 64, &["the tail was written beyond the ring"]);
    assert_eq!(card.r(0x1058), 64, "the register takes it");
    card.settle();
    assert_eq!(card.r(0x1050), 0, "the queue stands still");
}

#[test]
fn what_is_not_modelled_says_so() {
    let card = Card::up();
    let cases = [
        (0x5818, 2, "traffic classes are not modelled"),
        (0x5144, 1 << 31 | 1 << 27, "FCoE is not modelled"),
        (0x5144, 1 << 31 | 1 << 26, "pools of this kind are not modelled"),
        (0x5144, 1 << 31 | 1 << 19, "EtherType filters by user priority are not modelled"),
        (0xE9FC, 1 << 20, "low-latency interrupts are not modelled"),
        (0xEC1C, 1 << 29, "low-latency interrupts are not modelled"),
        (0xF5FC, 1, "the unicast table is not modelled"),
        (0x507C, 4789, "tunnels are not modelled"),
        (0x5000, 1 << 12, "the fragment checksum is not modelled"),
        (0x8A04, 2, "MACsec is not modelled"),
        (0x8F04, 2 << 2, "MACsec is not modelled"),
        (0x8900, 1, "IPsec is not modelled"),
        (0x8E00, 1, "IPsec is not modelled"),
        (0x8C20, 1 << 2, "target times, outputs and inputs of the clock are not modelled"),
        (0x8C68, 1 << 3, "target times, outputs and inputs of the clock are not modelled"),
        (0x2430, 6, "traffic classes are not modelled"),
        (0xF000, 1 << 26, "the unicast table is not modelled"),
        (0xF60C, 1, "mirroring is not modelled"),
        (0x80FC, 1 << 30, "a VLAN of a pool's own is not modelled"),
        (0x5808, 2, "wake-up is not modelled"),
    ];
    for (offset, value, what) in cases {
        card.w(offset, 0);
        card.expect_violations(&[]);
        card.w(offset, value);
        card.expect_violations(&[what]);
    }
}

/// Linux asks SECTXSTAT and SECRXSTAT, DPDK whether SECRXCTRL takes a zero: both leave IPsec and MACsec alone then.
#[test]
fn the_security_engine_is_off() {
    for device in [0x10FB, 0x1528, 0x1563] {
        let card = Card::with(IxgbeOptions::new().device(device));
        card.device.advance_us(100);
        assert_eq!((card.r(0x8804), card.r(0x8D04)), (2, 2), "SECTX_OFF_DIS and SECRX_OFF_DIS");
        for control in [0x8800, 0x8D00] {
            card.w(control, 0);
            assert_eq!(card.r(control), 1, "SECTX_DIS and SECRX_DIS stay");
            card.w(control, 2);
            assert_eq!((card.r(control), card.r(control + 4)), (3, 3), "the path is empty");
            card.w(control, 0);
        }
        card.expect_violations(&[]);
    }
}

#[test]
fn an_unplugged_card() {
    let card = Card::up();
    card.faults(|faults| faults.gone = true);
    card.w(0x5080, 1 << 10);
    assert_eq!((card.r(0x5080), card.r(0x8)), (!0, !0));
    assert!(!card.device.step());
    card.faults(|faults| faults.gone = false);
    assert_eq!(card.r(0x5080), 0, "the write was lost");
}

#[test]
fn receive_is_enabled_in_order() {
    let card = Card::up();
    card.w(0x3000, 1);
    let order = "RXEN was set while the receive data path was not halted by SECRXCTRL.RX_DIS";
    let strip = "RXEN was set while RDRXCTL.CRCStrip and HLREG0.RXCRCSTRP differ";
    card.expect_violations(&[order, strip]);
    card.w(0x3000, 0);
    card.w(0x4268, 9000 << 16);
    card.enable_receive();
    card.expect_violations(&["RXEN was set with MAXFRS above 1518 and without HLREG0.JUMBOEN"]);
    card.faults(|faults| faults.secrx_never_ready = true);
    card.w(0x8D00, 2);
    assert_eq!(card.r(0x8D04) & 1, 0);
}

#[test]
fn violations_say_where() {
    let card = Card::up();
    card.w(0x1018 + 5 * 0x40, 5);
    let seen = card.device.take_violations();
    let text = seen[0].to_string();
    assert_eq!(text, "the tail was written while the queue is not enabled at RDT[5] (value 0x5, section 8.2.3.8.5)");
}

#[test]
fn old_and_new_offsets_are_one_register() {
    let card = Card::up();
    for (old, new) in [(0x5818, 0xEC80), (0x5C80, 0xEB80), (0x5CA4, 0xEBA4), (0x5C00, 0xEB00), (0x5C7C, 0xEB7C)] {
        card.w(new, 1);
        assert_eq!(card.r(old), 1, "{new:#x} is {old:#x}");
        card.w(old, 0);
        assert_eq!(card.r(new), 0, "{old:#x} is {new:#x}");
    }
    card.expect_violations(&[]);
}

#[test]
fn the_upper_half_of_an_address_keeps_17_bits() {
    let card = Card::up();
    card.w(0x5404, 0xFFFF_FFFF);
    assert_eq!(card.r(0x5404), 0x8000_FFFF);
    assert_eq!(card.r(0xA204), 0x8000_FFFF);
}

/// What a driver sees that writes every bit of a register and reads it again (masks of the datasheet's reserved bits).
#[test]
fn registers_keep_what_is_written() {
    let card = Card::new();
    card.device.advance_us(100);
    let keeps = [(0x3220, 0x8007_FFE0), (0x3260, 0x8007_FFE0), (0x3200, !0), (0x1000, 0xFFFF_FF80), (0x1018, 0xFFFF), (0x6004, !0), (0x5200, !0)];
    for (offset, mask) in keeps {
        for pattern in [0x5A5A_5A5A, 0xA5A5_A5A5, 0, 0xFFFF_FFFF] {
            card.w(offset, pattern & mask);
            assert_eq!(card.r(offset), pattern & mask, "{offset:#x}");
        }
    }
    let status = card.r(0x8);
    card.w(0x8, 0x7FFF_F30F);
    assert_eq!(card.r(0x8), status, "STATUS is read-only");
}

#[test]
fn negotiation_runs_in_the_modes_that_negotiate() {
    let card = Card::up();
    let autoc = card.r(0x42A0);
    assert_eq!(card.r(0x42B0) & 0xF_0000, 0, "10 GbE serial does not negotiate");
    card.w(0x42A0, autoc ^ 4 << 13 | 1 << 12);
    assert_ne!(card.r(0x42B0) & 0xF_0000, 0, "KX4/KX/KR does");
    card.w(0x42A0, autoc);
    assert_eq!(card.r(0x42B0) & 0xF_0000, 0);
}

#[test]
fn a_module_sits_in_the_cage() {
    let card = Card::up();
    assert_eq!(card.r(0x20) & 1 << 2, 1 << 2, "SDP2 is high");
    assert_eq!(card.r(0x28), 0xF, "both lines of the bus are high");
    // A start condition, address A0h with the write bit, and the ninth clock.
    for value in [0xA & !8, 0, 8, 0xA, 8] {
        card.w(0x28, value);
    }
    for bit in [false, true, false, false, false, false, false] {
        let data = u32::from(bit) << 3;
        for value in [data, data | 2, data] {
            card.w(0x28, value);
        }
    }
    card.w(0x28, 8);
    card.w(0x28, 8 | 2);
    assert_eq!(card.r(0x28) & 5, 1, "the clock is high, and the module holds the data line low");
}

#[test]
fn tables_of_the_flow_director_are_ready() {
    let card = Card::up();
    assert_eq!(card.r(0xEE00) & 1 << 3, 1 << 3, "FDIRCTRL.INIT_DONE");
    card.w(0x3C00, (512 - 64) << 10);
    for (mode, command) in [0, 1 << 4].into_iter().flat_map(|mode| [1, 2, 3].map(|command| (mode, command))) {
        card.w(0xEE00, mode | 1 | 10 << 24);
        card.w(0xEE2C, command);
        assert_eq!((card.r(0xEE00) & 1 << 3, card.r(0xEE2C) & 3), (1 << 3, 0), "command {command} in mode {mode} is done at once");
    }
    card.expect_violations(&[]);
}

#[test]
fn a_reset_ends_master_disable() {
    let card = Card::up();
    card.w(0, 1 << 2);
    assert_eq!(card.r(8) & 1 << 19, 0, "STATUS says that the card is off the bus");
    card.w(0, 1 << 2 | 1 << 26);
    card.device.advance_us(100);
    assert_eq!((card.r(0) & 1 << 2, card.r(8) & 1 << 19), (0, 1 << 19));
}

#[test]
fn the_copper_phy_is_there() {
    let card = Card::with(sim::ixgbe::IxgbeOptions::new().device(0x1528));
    card.device.advance_us(100);
    let read = |device: u32, register: u32| {
        card.w(0x425C, register | device << 16 | 1 << 30);
        card.w(0x425C, register | device << 16 | 3 << 26 | 1 << 30);
        card.r(0x4260) >> 16
    };
    assert_eq!(read(1, 8) >> 14, 2, "status 2: a device responds at this address");
    assert_eq!(read(1, 5) & 0x9A, 0x9A, "devices in the package");
    assert_eq!((read(1, 2), read(1, 3)), (0x0154, 0x0200));
}
