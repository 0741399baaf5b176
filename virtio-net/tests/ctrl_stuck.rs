//! A control queue that does not answer, or answers what makes no sense: an error in bounded time, no further command, and a device that says what it lacks.

use super::rig::{Rig, pool, small, start_error};
use driver_core::device::{DeviceState, NetDevice, Recovery, RxMode};
use driver_core::host::Clock;
use driver_core::queue::QueueFault;
use virtio_net::HardwareError;

#[test]
fn a_command_that_is_not_answered_ends_in_time_and_no_other_is_sent() {
    let rig = Rig::new();
    let pool = pool(&rig, 256);
    let mut parts = rig.parts(&small().recovery(Recovery::Off).pool(pool.clone()));
    rig.faults(|faults| faults.ctrl_silent = true);
    let began_us = rig.clock.now_us();
    let error = parts.control.set_rx_mode(RxMode::empty()).unwrap_err();
    assert!((1_000_000..4_000_000).contains(&(rig.clock.now_us() - began_us)), "bounded, and not at once");
    assert!(matches!(error.hardware(), Some(HardwareError::CommandStuck { command: "VIRTIO_NET_CTRL_RX_PROMISC", .. })), "{error}");
    assert!(error.to_string().contains("did not answer VIRTIO_NET_CTRL_RX_PROMISC"), "{error}");
    // The device is not what it should be, and says so.
    assert!(parts.control.check().is_err());
    assert_eq!(parts.control.state(), DeviceState::of_device(QueueFault::Hardware("its control queue does not answer")));
    let began_us = rig.clock.now_us();
    assert!(parts.control.set_rx_mode(RxMode::PROMISCUOUS).is_err());
    assert!(rig.clock.now_us() - began_us < 100_000, "nothing is waited for again");
    parts.control.stop().unwrap();
    drop(parts);
    assert_eq!(pool.available(), 256);
    rig.assert_clean();
}

#[test]
fn a_start_that_the_control_queue_does_not_answer_gives_everything_back() {
    let rig = Rig::new();
    let pool = pool(&rig, 256);
    rig.faults(|faults| faults.ctrl_silent = true);
    let error = start_error(rig.open().unwrap(), &small().pool(pool.clone()));
    assert!(matches!(error.error().hardware(), Some(HardwareError::CommandStuck { .. })), "{error}");
    assert_eq!(pool.available(), 256);
    // It starts when it answers again.
    rig.faults(|faults| faults.ctrl_silent = false);
    let (_, device) = error.into_parts();
    drop(device.start(&small().pool(pool.clone())).unwrap());
    assert_eq!(pool.available(), 256);
    rig.assert_clean();
}

#[test]
fn an_answer_to_no_command_is_a_fault() {
    let rig = Rig::new();
    let mut parts = rig.parts(&small());
    rig.faults(|faults| faults.ctrl_id = Some(99));
    let error = parts.control.set_rx_mode(RxMode::empty()).unwrap_err();
    assert!(matches!(error.hardware(), Some(HardwareError::CommandFault { fault: QueueFault::Index { index: 99, .. }, .. })), "{error}");
    assert!(parts.control.set_rx_mode(RxMode::empty()).is_err());
    parts.control.stop().unwrap();
    drop(parts);
    rig.assert_clean();
}

#[test]
fn a_device_that_goes_while_it_is_told_something_is_not_waited_for() {
    let rig = Rig::new();
    let mut parts = rig.parts(&small());
    rig.faults(|faults| faults.ctrl_silent = true);
    rig.model(sim::virtio_net::VirtioNet::lose_its_way);
    let began_us = rig.clock.now_us();
    assert!(parts.control.set_rx_mode(RxMode::empty()).is_err());
    assert!(rig.clock.now_us() - began_us < 1_000_000);
    parts.control.stop().unwrap();
    drop(parts);
    rig.assert_clean();
}
