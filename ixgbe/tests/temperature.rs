//! The thermal sensors of an 82599's board.

use crate::common::{Card, I82599, Liar, X540, X550};
use driver_core::device::{Config, NetDevice, Temperature};
use driver_core::host::RegSpace;
use sim::ixgbe::IxgbeOptions;

#[test]
fn each_sensor_is_read_with_its_limit() {
    let card = Card::with(IxgbeOptions::new().celsius([47, -3]));
    let mut started = card.start(&Config::new());
    let found = started.control.temperatures().unwrap();
    let told: Vec<_> = found.iter().map(|sensor| (&*sensor.name, sensor.millicelsius, sensor.limit_millicelsius)).collect();
    assert_eq!(told, [("board 1", 47_000, Some(100_000)), ("board 3", -3_000, Some(85_000))]);
    assert!(found.iter().all(|sensor| !sensor.is_too_high()));
    assert!(started.control.module().unwrap().is_identity_good(), "the bus was left free");
    let bar = card.registers();
    assert_eq!((bar.read32(0x1_0160) & 0x3ff, bar.read32(0x1_0140) & 1), (0, 0), "SW_FW_SYNC, SWSM.SMBI: given back");
    card.assert_no_violations();
}

#[test]
fn a_board_that_is_too_hot_is_told() {
    let card = Card::with(IxgbeOptions::new().celsius([101, 85]));
    let found = card.start(&Config::new()).control.temperatures().unwrap();
    assert_eq!(found.iter().map(Temperature::is_too_high).collect::<Vec<_>>(), [true, false]);
    card.assert_no_violations();
}

#[test]
fn cards_without_sensors_have_none() {
    for device in [X540, X550] {
        let card = Card::of(device);
        assert_eq!(card.start(&Config::new()).control.temperatures().unwrap(), []);
        card.assert_no_violations();
    }
}

#[test]
fn a_sensor_that_does_not_answer_is_told() {
    let (card, liar) = (Card::of(I82599), Liar::default());
    let mut started = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap().start(&Config::new()).unwrap();
    // Nobody pulls the data line low.
    liar.stick(0x28, 1 << 2);
    let text = started.control.temperatures().unwrap_err().to_string();
    assert!(
        text.starts_with("sim:ixgbe: reading its temperatures: the board's thermal sensor does not answer at address 0xf8 of the cage's bus"),
        "{text}"
    );
    liar.lies().registers.clear();
    assert_eq!(started.control.temperatures().unwrap().len(), 2, "bus and semaphore were given back");
    drop(started);
}
