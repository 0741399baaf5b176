//! What is wrong with a device is said once, however often it is looked at.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use barewire::driver_core::device::{Config, DeviceState, NetDevice, Recovery};
use barewire::driver_core::host::Clock;
use barewire::sim::virtio_net::{VirtioNet, VirtioNetOptions};
use barewire::sim::wire::peer;
use barewire::sim::{Iommu, SimClock, SimDevice};
use log::{LevelFilter, Log, Metadata, Record};

/// Keeps what is logged as a warning or an error.
struct Lines;
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        LINES.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}

#[test]
fn a_device_that_asks_for_a_reset_while_its_link_is_waited_for_says_so_once() {
    log::set_logger(&Lines).unwrap();
    log::set_max_level(LevelFilter::Warn);
    let device = SimDevice::new("sim:virtio-net", Box::new(VirtioNet::new(VirtioNetOptions::default())), Box::new(peer::pair(4).0), Iommu::new());
    let clock = std::sync::Arc::new(SimClock::new([device.clone()]));
    let mut started = barewire::virtio_net::open(device.function(), clock.clone()).unwrap().start(&Config::new().recovery(Recovery::Off)).unwrap();
    // SAFETY: the model is told to give up, and nothing else.
    unsafe { device.with_model(VirtioNet::lose_its_way) }.unwrap();
    clock.sleep_us(100);
    let looks = AtomicUsize::new(0);
    while !started.control.link().up && looks.fetch_add(1, Ordering::Relaxed) < 6000 {}
    assert_eq!((looks.into_inner(), started.control.state()), (6001, DeviceState::NeedsReset));
    let told: Vec<_> = LINES.lock().unwrap().iter().filter(|line| line.contains("DEVICE_NEEDS_RESET")).cloned().collect();
    assert_eq!(told, ["sim:virtio-net: the device asks for a reset (virtio's DEVICE_NEEDS_RESET): stop it and open it again"]);
}
