//! The simulated virtio card by raw register access: whatever a driver must not do by its registers, the card notes by name. So a list of violations that is empty
//! says of a driver that it did none of this.

use driver_core::host::{PciFunction, RegSpace};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::peer;
use sim::{Iommu, SimDevice, SimFunction};

/// struct virtio_pci_common_cfg (VIRTIO 1.3, 4.1.4.3), and where the card's other structures begin.
const DEVICE_FEATURE: u32 = 4;
const DRIVER_FEATURE_SELECT: u32 = 8;
const DRIVER_FEATURE: u32 = 12;
const CONFIG_MSIX_VECTOR: u32 = 16;
const NUM_QUEUES: u32 = 18;
const STATUS: u32 = 20;
const CONFIG_GENERATION: u32 = 21;
const QUEUE_SELECT: u32 = 22;
const QUEUE_SIZE: u32 = 24;
const QUEUE_ENABLE: u32 = 28;
const QUEUE_NOTIFY_OFF: u32 = 30;
const QUEUE_DESC: u32 = 32;
const ISR: u32 = 0x1000;
const DEVICE: u32 = 0x2000;
const NOTIFY: u32 = 0x3000;
/// The capability of the window, as the card has it.
const WINDOW: u16 = 0xb0;

const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const NEEDS_RESET: u8 = 64;

struct Card {
    device: SimDevice,
    function: SimFunction,
    bar: <SimFunction as PciFunction>::Bar,
}

impl Card {
    fn new() -> Self {
        let device = SimDevice::new("sim:virtio-net", Box::new(VirtioNet::new(VirtioNetOptions::default())), Box::new(peer::pair(4).0), Iommu::new());
        let mut function = device.function();
        // SAFETY: no queue is ever live, so that the card uses no memory.
        let bar = unsafe { function.open_bar(4) }.unwrap();
        Self { device, function, bar }
    }

    /// As far as step 6 of 3.1.1: VERSION_1 alone is accepted.
    fn negotiated() -> Self {
        let card = Self::new();
        card.status(ACKNOWLEDGE);
        card.status(ACKNOWLEDGE | DRIVER);
        card.bar.write32(DRIVER_FEATURE_SELECT, 1);
        card.bar.write32(DRIVER_FEATURE, 1);
        card.status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        assert_eq!(card.bar.read8(STATUS), ACKNOWLEDGE | DRIVER | FEATURES_OK);
        assert_eq!(card.whats(), [""; 0], "nothing wrong so far");
        card
    }

    fn status(&self, value: u8) {
        self.bar.write8(STATUS, value);
    }

    /// What it noted since the last look.
    fn whats(&self) -> Vec<&'static str> {
        self.device.take_violations().iter().map(|violation| violation.what).collect()
    }

    #[track_caller]
    fn notes(&self, what: &str) {
        assert_eq!(self.whats(), [what]);
    }
}

#[test]
fn a_status_that_goes_back_or_ahead_of_its_order() {
    let card = Card::negotiated();
    card.status(ACKNOWLEDGE | DRIVER);
    card.notes("a status bit is cleared");
    for (value, times) in [(ACKNOWLEDGE | DRIVER_OK, 1), (ACKNOWLEDGE | FEATURES_OK, 1), (DRIVER, 1)] {
        let card = Card::new();
        if value & ACKNOWLEDGE != 0 {
            card.status(ACKNOWLEDGE);
        }
        card.status(value);
        let whats = card.whats();
        let of_order = whats.iter().filter(|&&what| what == "a status bit is set before the one that it needs");
        assert_eq!(of_order.count(), times, "{value:#x}: {whats:?}");
    }
    let card = Card::negotiated();
    card.status(ACKNOWLEDGE | DRIVER | FEATURES_OK | NEEDS_RESET);
    card.notes("the driver sets DEVICE_NEEDS_RESET");
}

#[test]
fn features_that_were_not_offered_or_come_too_late() {
    let card = Card::new();
    card.status(ACKNOWLEDGE);
    card.status(ACKNOWLEDGE | DRIVER);
    card.bar.write32(DRIVER_FEATURE_SELECT, 1);
    // VIRTIO_F_SR_IOV (37).
    card.bar.write32(DRIVER_FEATURE, 1 | 1 << 5);
    card.notes("a feature is accepted that was not offered");
    let card = Card::negotiated();
    card.bar.write32(DRIVER_FEATURE, 0);
    card.notes("features are written outside their step");
}

#[test]
fn registers_that_are_only_read() {
    for (offset, bytes) in [(DEVICE_FEATURE, 4), (NUM_QUEUES, 2), (CONFIG_GENERATION, 1)] {
        let card = Card::new();
        match bytes {
            1 => card.bar.write8(offset, 0),
            2 => card.bar.write16(offset, 0),
            _ => card.bar.write32(offset, 0),
        }
        card.notes("a write to a register that is only read");
    }
    let card = Card::negotiated();
    card.bar.write16(QUEUE_SELECT, 0);
    card.bar.write16(QUEUE_NOTIFY_OFF, 0);
    card.notes("a value or field that is not to be written");
    for offset in [ISR, DEVICE] {
        card.bar.write8(offset, 0);
        card.notes("a write to a structure that is only read");
    }
}

#[test]
fn accesses_of_another_width_than_the_fields() {
    let card = Card::new();
    for work in [
        |card: &Card| {
            let _ = card.bar.read32(STATUS);
        },
        |card: &Card| {
            let _ = card.bar.read16(DEVICE_FEATURE);
        },
        |card: &Card| {
            let _ = card.bar.read8(NUM_QUEUES);
        },
        |card: &Card| card.bar.write32(QUEUE_SIZE, 0),
        |card: &Card| card.bar.write16(QUEUE_DESC, 0),
        |card: &Card| card.bar.write16(STATUS, 0),
    ] {
        work(&card);
        card.notes("an access of another width than the field's");
    }
}

#[test]
fn a_device_configuration_that_is_read_too_early() {
    let card = Card::new();
    card.bar.read8(DEVICE);
    card.notes("the device configuration is read in a wrong way or too early");
}

#[test]
fn sizes_and_areas_of_queues_that_cannot_be() {
    let wrong_size = "a queue size that is no power of two, or above the device's";
    let wrong_area = "a queue area is missing or not aligned";
    for (size, area, expected) in
        [(100, 0x1000, wrong_size), (512, 0x1000, wrong_size), (0, 0x1000, wrong_size), (64, 0x1001, wrong_area), (64, 0, wrong_area)]
    {
        let card = Card::negotiated();
        card.bar.write16(QUEUE_SELECT, 0);
        card.bar.write16(QUEUE_SIZE, size);
        for k in 0..3 {
            card.bar.write32(QUEUE_DESC + 8 * k, area);
        }
        card.bar.write16(QUEUE_ENABLE, 1);
        let whats = card.whats();
        assert!(whats.contains(&expected) && whats.iter().all(|&what| what == expected), "{size}, {area:#x}: {whats:?}");
    }
}

#[test]
fn a_queue_that_is_disabled_or_changed_while_it_is_enabled() {
    let card = Card::negotiated();
    card.bar.write16(QUEUE_SELECT, 0);
    card.bar.write16(QUEUE_ENABLE, 0);
    card.notes("a value or field that is not to be written");
    for k in 0..3 {
        card.bar.write32(QUEUE_DESC + 8 * k, 0x1000 * (k + 1));
    }
    card.bar.write16(QUEUE_ENABLE, 1);
    assert_eq!(card.whats(), [""; 0]);
    card.bar.write16(QUEUE_SIZE, 64);
    card.notes("a queue is set up outside its step");
}

#[test]
fn a_vector_beyond_the_table() {
    let card = Card::negotiated();
    card.bar.write16(CONFIG_MSIX_VECTOR, 0x123);
    card.notes("a vector that the function does not have");
    assert_eq!(card.bar.read16(CONFIG_MSIX_VECTOR), u16::MAX, "and says so");
}

#[test]
fn registers_that_are_used_before_a_reset_is_done() {
    let card = Card::negotiated();
    card.status(0);
    card.bar.read16(NUM_QUEUES);
    card.notes("a register was read during the reset");
    card.bar.write16(QUEUE_SELECT, 0);
    card.notes("a register was written during the reset");
}

#[test]
fn notifications_before_the_device_is_live_or_of_another_form() {
    let card = Card::negotiated();
    card.bar.write16(NOTIFY, 0);
    card.notes("a notification of the wrong form or at the wrong time");
    card.bar.write32(NOTIFY, 0);
    card.notes("a notification of the wrong form or at the wrong time");
}

/// 4.1.4.9.2: what the window is pointed at lies within a structure, is as long as an access, and aligned to its length.
#[test]
fn a_window_that_is_not_aligned_or_leads_nowhere() {
    for (bar, offset, length) in [(4, 2, 4), (4, 0x0040_0000, 4), (3, 0, 4), (4, 0, 3), (4, 0, 8)] {
        let mut card = Card::new();
        for (at, width, value) in [(WINDOW + 4, 1, bar), (WINDOW + 8, 4, offset), (WINDOW + 12, 4, length)] {
            // SAFETY: the window leads to registers that name no memory.
            unsafe { card.function.config_write(at, width, value) }.unwrap();
        }
        card.function.config_read(WINDOW + 16, 4).unwrap();
        card.notes("access through the window that it was not set up for");
    }
}
