//! The simulated virtio card by raw register access: what it does where the specification leaves a device free.

use driver_core::host::{PciFunction, RegSpace};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::peer;
use sim::{Iommu, SimDevice};

/// struct virtio_pci_common_cfg (virtio 1.2, 4.1.4.3).
const DRIVER_FEATURE_SELECT: u32 = 8;
const DRIVER_FEATURE: u32 = 12;
const STATUS: u32 = 20;

const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const FEATURES_OK: u8 = 8;

/// VIRTIO_F_VERSION_1 is bit 0 of the upper half.
const VERSION_1: u32 = 1;

/// iPXE opens a card again by a reset, the features, and FEATURES_OK; QEMU's cards take them at any time before that bit.
#[test]
fn features_written_before_their_step_are_kept() {
    let device = SimDevice::new("sim:virtio-net", Box::new(VirtioNet::new(VirtioNetOptions::default())), Box::new(peer::pair(4).0), Iommu::new());
    let mut function = device.function();
    // SAFETY: no address of memory is written to the card.
    let bar = unsafe { function.open_bar(4) }.unwrap();
    let whats = || device.take_violations().iter().map(|violation| violation.what).collect::<Vec<_>>();
    let features = |half: u32, value: u32| {
        bar.write32(DRIVER_FEATURE_SELECT, half);
        bar.write32(DRIVER_FEATURE, value);
    };
    features(1, VERSION_1);
    bar.write8(STATUS, ACKNOWLEDGE);
    bar.write8(STATUS, ACKNOWLEDGE | DRIVER);
    bar.write8(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    assert_eq!(bar.read8(STATUS) & FEATURES_OK, FEATURES_OK, "the features are those that were written first");
    assert_eq!(whats(), ["features are written outside their step"], "the specification forbids it all the same");
    // From there on none is taken.
    features(1, 0);
    // SAFETY: the model is looked at, and not exchanged.
    let negotiated = unsafe { device.with_model(|model: &mut VirtioNet| model.negotiated()) }.unwrap();
    assert_eq!((negotiated, whats()), (1 << 32, vec!["features are written outside their step"]));
    // A reset forgets them.
    bar.write8(STATUS, 0);
    device.advance_us(100);
    device.step();
    bar.write8(STATUS, ACKNOWLEDGE);
    bar.write8(STATUS, ACKNOWLEDGE | DRIVER);
    bar.write8(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    assert_eq!((bar.read8(STATUS) & FEATURES_OK, whats().len()), (0, 0));
}
