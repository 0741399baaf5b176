//! Registers that never come to the awaited state: the error names the register, its section and the last value, and nothing hangs.

use crate::common::{Card, Liar, refused};
use driver_core::buf::PoolConfig;
use driver_core::device::Config;
use driver_core::host::Clock;
use ixgbe::ErrorKind;

/// What `open` says of a card with a fault.
fn open_error(fault: impl FnOnce(&mut sim::ixgbe::Faults)) -> String {
    let card = Card::new();
    card.faults(fault);
    card.open().unwrap_err().to_string()
}

#[test]
fn a_reset_that_never_ends() {
    let text = open_error(|faults| faults.reset_stuck = true);
    assert!(text.contains("CTRL (0x00000, section 8.2.3.1.1) still reads 0x0400000"), "{text}");
    assert!(text.starts_with("sim:ixgbe: resetting: waited 10"), "{text}");
}

#[test]
fn an_eeprom_that_is_never_read() {
    let text = open_error(|faults| faults.no_auto_read = true);
    assert!(text.contains("EEC (0x10010, section 8.2.3.2.1)"), "{text}");
}

#[test]
fn dma_that_is_never_initialised() {
    let text = open_error(|faults| faults.no_dma_init = true);
    assert!(text.contains("RDRXCTL (0x02f00, section 8.2.3.8.8)"), "{text}");
}

#[test]
fn a_card_that_does_not_answer() {
    let (card, liar) = (Card::new(), Liar::default());
    liar.stick(0x8, u32::MAX);
    let error = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap_err().to_string();
    assert!(error.contains("STATUS") && error.contains("all ones mean that the card does not answer"), "{error}");
}

#[test]
fn a_master_that_is_never_disabled_is_reset_twice_and_opened() {
    let card = Card::new();
    card.faults(|faults| faults.master_stuck = true);
    card.open().unwrap();
    card.assert_no_violations();
}

/// The Device Status register of the model's PCI Express capability.
const DEVICE_STATUS: u16 = 0xaa;

/// Opens a card that never disables its master, and says how long that took.
fn open_unquiet(liar: &Liar) -> (Result<(), ixgbe::Error>, u64) {
    let card = Card::new();
    card.faults(|faults| faults.master_stuck = true);
    let begun_us = card.clock.now_us();
    let result = ixgbe::open(card.lying(liar), card.clock.clone()).map(drop);
    (result, card.clock.now_us() - begun_us)
}

#[test]
fn pending_transactions_are_waited_for_and_not_for_ever() {
    let (opened, quiet_us) = open_unquiet(&Liar::default());
    opened.unwrap();
    let liar = Liar::default();
    liar.lies().config.insert(DEVICE_STATUS, Some(1 << 5));
    let (opened, pending_us) = open_unquiet(&liar);
    opened.unwrap();
    assert!((100_000..110_000).contains(&(pending_us - quiet_us)), "{pending_us} us and {quiet_us} us without");
}

#[test]
fn a_function_that_is_gone_while_transactions_are_waited_for_ends_the_wait() {
    let liar = Liar::default();
    liar.lies().config.insert(DEVICE_STATUS, None);
    let (opened, gone_us) = open_unquiet(&liar);
    let error = opened.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Pci(_)), "{error}");
    // The host's error names the function itself, and is not told it twice.
    let wanted = "sim:ixgbe: resetting: reading configuration space: the function does not answer any more: it was unplugged, its host has reset it, or its server has gone";
    assert_eq!(error.to_string(), wanted);
    assert!(gone_us < 100_000, "Master Disable has 80 ms, and nothing comes after it: {gone_us} us");
}

/// What `start` says of a card with a fault, and that everything it took is back.
fn start_error(fault: impl FnOnce(&mut sim::ixgbe::Faults)) -> String {
    let card = Card::new();
    let device = card.open().unwrap();
    card.faults(fault);
    let pool = card.pool(PoolConfig::new(1200));
    let config = Config::new().pool(pool.clone()).rx_queues(2);
    let (error, device) = refused(device.start(&config));
    assert_eq!(pool.available(), pool.len(), "the rings' buffers are back");
    assert!(matches!(error.kind(), ErrorKind::Wait(_)), "{error}");
    assert_eq!((error.function(), error.step()), ("sim:ixgbe", "starting"));
    card.faults(|faults| *faults = sim::ixgbe::Faults::default());
    let started = device.start(&config).unwrap();
    assert_eq!(started.rx.len(), 2);
    drop(started);
    card.assert_no_violations();
    error.to_string()
}

#[test]
fn a_queue_that_never_turns_on() {
    let text = start_error(|faults| faults.queue_enable_stuck = true);
    assert!(text.contains("TXDCTL (0x06028, section 8.2.3.9.10) still reads"), "{text}");
}

#[test]
fn a_receive_path_that_never_empties() {
    let text = start_error(|faults| faults.secrx_never_ready = true);
    // Bit 1: the security engine is off, as on a card without one.
    assert!(text.contains("SECRXSTAT (0x08d04, section 8.2.3.12.6) still reads 0x00000002"), "{text}");
}

#[test]
fn a_failed_start_trusts_master_disable_and_not_the_queues() {
    let (card, liar) = (Card::new(), Liar::default());
    let pool = card.pool(PoolConfig::new(1100));
    let device = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap();
    card.faults(|faults| faults.secrx_never_ready = true);
    liar.stick(0x1028, 1 << 25);
    let (_, device) = refused(device.start(&Config::new().pool(pool.clone())));
    assert_eq!(pool.available(), pool.len(), "RXDCTL says that the queue is on, and the card that nothing is pending");
    drop(device);
    assert_eq!(liar.lies().dma.last(), Some(&false));
    // The lie made the driver hand buffers to a queue that was off.
    assert!(card.device.take_violations().iter().all(|violation| violation.location.starts_with("RDT[0]")));
}

#[test]
fn a_card_that_only_its_host_could_silence_is_reset_before_it_is_started_again() {
    let card = Card::new();
    let device = card.open().unwrap();
    let pool = card.pool(PoolConfig::new(1200));
    let config = Config::new().pool(pool.clone());
    card.faults(|faults| (faults.secrx_never_ready, faults.master_stuck, faults.reset_stuck) = (true, true, true));
    let (_, device) = refused(device.start(&config));
    assert_eq!(pool.available(), pool.len(), "its host reset it");
    card.faults(|faults| faults.secrx_never_ready = false);
    let (error, device) = refused(device.start(&config));
    assert!(error.to_string().contains("CTRL (0x00000"), "{error}");
    card.faults(|faults| *faults = sim::ixgbe::Faults::default());
    // Registers in the middle of a reset that never ends are what this card provoked.
    card.device.take_violations();
    drop(device.start(&config).unwrap());
    assert_eq!(pool.available(), pool.len());
}

#[test]
fn a_semaphore_that_is_never_free() {
    let text = start_error(|faults| faults.semaphore_stuck = true);
    assert!(text.contains("SWSM (0x10140, section 8.2.3.4.9) still reads"), "{text}");
}
