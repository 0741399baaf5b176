//! What a card tells of its inside: registers by name and field, the EEPROM and its checksum, the module in its cage.

use crate::common::{Card, I82599, MAC, Started, X540, X550, frame, received};
use driver_core::device::{Config, DeviceState, ErrorKind, NetDevice, RegisterValue};
use driver_core::host::RegSpace;
use driver_core::testing::Liar;

/// LINKS bit 7: there was a link since the last read.
const LINK_SINCE: u32 = 1 << 7;

fn registers(started: &mut Started) -> Vec<RegisterValue> {
    let mut all = started.control.registers().unwrap();
    all.iter_mut().filter(|register| register.name == "LINKS").for_each(|links| links.value &= !LINK_SINCE);
    all
}

/// A field by its register's name and its own.
fn field(registers: &[RegisterValue], register: &str, field: &str) -> u32 {
    let register = registers.iter().find(|one| one.name == register).unwrap_or_else(|| panic!("no {register}"));
    register.fields.iter().find(|one| one.name == field).unwrap_or_else(|| panic!("no {field}")).value
}

#[test]
fn registers_hold_what_a_second_look_finds() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new().rx_queues(2).tx_queues(3));
        let read = registers(&mut started);
        let bar = card.registers();
        for register in &read {
            let ignored = if register.name == "LINKS" { LINK_SINCE } else { 0 };
            assert_eq!(register.value, bar.read32(register.offset) & !ignored, "{device:04x}: {}", register.name);
        }
        let names = |prefix: &str| read.iter().filter(|register| register.name.starts_with(prefix)).count();
        assert_eq!((names("RDT["), names("TDT["), names("RXPBSIZE["), names("AUTOC")), (2, 3, 8, if device == I82599 { 2 } else { 0 }));
        card.assert_no_violations();
    }
}

#[test]
fn fields_are_what_was_configured() {
    let card = Card::new();
    let mut started = card.start(&Config::new().mtu(9000).rx_ring(128));
    let read = registers(&mut started);
    for (register, name, value) in [
        ("RXCTRL", "RXEN", 1),
        ("DMATXCTL", "TE", 1),
        ("CTRL_EXT", "DRV_LOAD", 1),
        ("MAXFRS", "MFS", 9018),
        ("HLREG0", "JUMBOEN", 1),
        ("HLREG0", "LPBK", 0),
        ("FCTRL", "BAM", 1),
        ("FCTRL", "UPE", 0),
        ("MRQC", "MRQE", 0),
        ("SRRCTL[0]", "BSIZEPACKET", 2),
        ("SRRCTL[0]", "DESCTYPE", 1),
        ("SRRCTL[0]", "DROP_EN", 0),
        ("RXDCTL[0]", "ENABLE", 1),
        ("TXDCTL[0]", "PTHRESH", 32),
        ("RXPBSIZE[0]", "SIZE", 512),
        ("TXPBSIZE[0]", "SIZE", 160),
        ("RAH[0]", "AV", 1),
        ("RAH[0]", "RAH", 0x9059),
        ("RAH[1]", "AV", 0),
        ("LINKS", "LINK_UP", 1),
        ("LINKS", "LINK_SPEED", 3),
        ("AUTOC", "LMS", 3),
    ] {
        assert_eq!(field(&read, register, name), value, "{register}.{name}");
    }
    let value = |name: &str| read.iter().find(|register| register.name == name).unwrap().value;
    assert_eq!((value("RDLEN[0]"), value("RDT[0]"), value("RAL[0]")), (128 * 16, 127, 0x8200_0002));
}

/// No cause, no counter and no semaphore changes, and frames go on.
#[test]
fn reading_registers_changes_nothing() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    card.send(&frame(MAC, 300, 0));
    let first = registers(&mut started);
    assert!(registers(&mut started) == first);
    card.send(&frame(MAC, 300, 1));
    assert_eq!(received(&mut started.rx[0]).len(), 2);
    assert_eq!((started.control.stats().rx_packets, started.control.stats().rx_bytes), (2, 600));
    assert_eq!(card.registers().read32(0x1_0140) & 1, 0, "SWSM.SMBI: free until this read");
    card.assert_no_violations();
}

#[test]
fn the_eeprom_is_read_whole_and_its_checksum_is_right() {
    for (device, id) in [(I82599, 0x10fb), (X540, 0x1528), (X550, 0x1563)] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new());
        let eeprom = started.control.eeprom().unwrap();
        assert_eq!((eeprom.words.len(), eeprom.words[0x2d]), (2048, id));
        // Where word 9 points, the address follows a length.
        let section = usize::from(eeprom.words[9]);
        let address: Vec<u8> = eeprom.words[section + 1..section + 4].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(address, MAC.0);
        assert!(eeprom.checksum.is_good() && eeprom.checksum.stored == eeprom.words[0x3f], "{:?}", eeprom.checksum);
        let bar = card.registers();
        assert_eq!((bar.read32(0x1_0160) & 1, bar.read32(0x1_0140) & 1), (0, 0), "SW_FW_SYNC.SW_EEP_SM, SWSM.SMBI: given back");
        bar.write32(0x1_0160, 0);
        let _took_it = card.device.take_violations();

        card.faults(|faults| faults.eeprom_corrupt = true);
        let corrupt = started.control.eeprom().unwrap().checksum;
        assert_eq!((corrupt.is_good(), corrupt.stored, corrupt.computed), (false, eeprom.checksum.stored ^ 0x0100, eeprom.checksum.computed));
    }
}

#[test]
fn an_eeprom_that_cannot_be_read_is_told() {
    let (card, liar) = (Card::new(), Liar::default());
    let mut started = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap().start(&Config::new()).unwrap();
    liar.clear(0x1_0014, 2);
    let text = started.control.eeprom().unwrap_err().to_string();
    assert!(text.starts_with("sim:ixgbe: reading its EEPROM: ") && text.contains("EERD (0x10014, section 8.2.3.2.2)"), "{text}");
    liar.lies().registers.clear();
    assert!(started.control.eeprom().unwrap().checksum.is_good(), "the semaphore was given back");
    drop(started);
}

/// The X550's words come by commands to its firmware.
#[test]
fn a_firmware_that_does_not_do_its_part_is_told() {
    let (card, liar) = (Card::of(X550), Liar::default());
    let mut started = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap().start(&Config::new()).unwrap();
    let mut told = || started.control.eeprom().unwrap_err().to_string();
    // HICR.EN; HICR.C; HICR.SV; the answer's status.
    liar.clear(0x1_5f00, 1);
    assert!(told().starts_with("sim:ixgbe: reading its EEPROM: the card's firmware takes no commands (HICR 0x00000000): "), "{}", told());
    liar.lies().registers.clear();
    liar.stick(0x1_5f00, 2);
    assert!(told().contains("HICR (0x15f00, section 8.2.3.25 (X550)) still reads 0x00000007"), "{}", told());
    liar.lies().registers.clear();
    liar.clear(0x1_5800, 1 << 16);
    assert!(told().contains("the card's firmware did not do command 0x31, and answered 0x00: "), "{}", told());
    liar.lies().registers.clear();
    assert!(started.control.eeprom().unwrap().checksum.is_good(), "the semaphores were given back");
    drop(started);
    card.assert_no_violations();
}

#[test]
fn the_module_in_the_cage_says_what_it_is() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let module = started.control.module().unwrap();
    assert_eq!((module.kind(), module.vendor(), module.part_number()), ("10GBASE-SR", "Barewire".into(), "SIM-10G-SR".into()));
    assert!(module.is_identity_good());
    let now = module.measures().unwrap();
    assert_eq!(
        (now.millicelsius, now.microvolts, now.bias_microamperes, now.tx_nanowatts, now.rx_nanowatts),
        (35_000, 3_300_000, 6_000, 500_000, 500_000)
    );
    assert_eq!(started.control.module().unwrap(), module, "the bus was left free");
    card.send(&frame(MAC, 300, 0));
    assert_eq!(received(&mut started.rx[0]).len(), 1);
    let bar = card.registers();
    assert_eq!((bar.read32(0x1_0160) & 2, bar.read32(0x28) & 0xf), (0, 0xf), "SW_FW_SYNC.SW_PHY_SM0: given back; I2CCTL: nobody drives a line");
    card.assert_no_violations();
}

#[test]
fn a_module_that_does_not_answer_is_told() {
    for device in [X540, X550] {
        let card = Card::of(device);
        let error = card.start(&Config::new()).control.module().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { what: "pluggable modules", .. }), "{error}");
    }
    let (card, liar) = (Card::new(), Liar::default());
    let mut started = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap().start(&Config::new()).unwrap();
    // Nobody pulls the data line low: an empty cage.
    liar.stick(0x28, 1 << 2);
    let text = started.control.module().unwrap_err().to_string();
    assert!(text.starts_with("sim:ixgbe: reading its module: no module answers at address 0xa0 of the cage's bus: "), "{text}");
    // The clock is held low for ever.
    liar.clear(0x28, 1);
    let text = started.control.module().unwrap_err().to_string();
    assert!(text.contains("I2CCTL (0x00028, section 8.2.3.1.5)"), "{text}");
    liar.lies().registers.clear();
    assert!(started.control.module().unwrap().is_identity_good(), "bus and semaphore were given back");
    drop(started);
}

#[test]
fn a_stopped_card_is_not_looked_into() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    started.control.stop().unwrap();
    let errors = [started.control.registers().unwrap_err(), started.control.eeprom().unwrap_err(), started.control.module().unwrap_err()];
    for error in &errors {
        assert!(matches!(error.kind(), ErrorKind::NotRunning(DeviceState::Stopped)), "{error}");
    }
    assert!(errors[0].to_string().starts_with("sim:ixgbe: reading its registers: "), "{}", errors[0]);
}
