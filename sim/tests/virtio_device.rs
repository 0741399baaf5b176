//! What a device must do by its registers (VIRTIO 1.3, the sections for devices), of the simulated virtio card.

use driver_core::host::{PciFunction, RegSpace};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::peer;
use sim::{Iommu, SimDevice, SimFunction};

/// struct virtio_pci_common_cfg (4.1.4.3), and where the card's other structures begin.
const DEVICE_FEATURE_SELECT: u32 = 0;
const DEVICE_FEATURE: u32 = 4;
const DRIVER_FEATURE_SELECT: u32 = 8;
const DRIVER_FEATURE: u32 = 12;
const CONFIG_MSIX_VECTOR: u32 = 16;
const NUM_QUEUES: u32 = 18;
const STATUS: u32 = 20;
const QUEUE_SELECT: u32 = 22;
const QUEUE_SIZE: u32 = 24;
const QUEUE_MSIX_VECTOR: u32 = 26;
const QUEUE_ENABLE: u32 = 28;
const QUEUE_DESC: u32 = 32;
const ISR: u32 = 0x1000;
const DEVICE: u32 = 0x2000;
/// The window (4.1.4.9).
const WINDOW: u16 = 0xb0;
const NO_VECTOR: u16 = 0xffff;
/// VERSION_1 and ACCESS_PLATFORM in the upper half, MAC and STATUS in the lower.
const UPPER: u32 = 0b11;
const LOWER: u32 = 1 << 5 | 1 << 16;

struct Card {
    device: SimDevice,
    function: SimFunction,
    bar: <SimFunction as PciFunction>::Bar,
}

impl Card {
    fn new(options: VirtioNetOptions) -> Self {
        let device = SimDevice::new("sim:virtio-net", Box::new(VirtioNet::new(options)), Box::new(peer::pair(4).0), Iommu::new());
        let mut function = device.function();
        // SAFETY: no queue of these tests has buffers.
        let bar = unsafe { function.open_bar(4) }.unwrap();
        Self { device, function, bar }
    }

    fn accept(&self, lower: u32, upper: u32) {
        self.bar.write8(STATUS, 1);
        self.bar.write8(STATUS, 3);
        for (half, features) in [(0, lower), (1, upper)] {
            self.bar.write32(DRIVER_FEATURE_SELECT, half);
            self.bar.write32(DRIVER_FEATURE, features);
        }
        self.bar.write8(STATUS, 11);
    }

    fn reset(&self) {
        self.bar.write8(STATUS, 0);
        self.device.advance_us(100);
        self.device.step();
    }

    /// The capabilities of structures: where each lies in configuration space, and its type.
    fn structures(&self) -> Vec<(u16, u8)> {
        let mut found = Vec::new();
        let mut last = None;
        while let Some(at) = self.function.find_capability(9, last).unwrap() {
            found.push((at, self.function.config_read(at + 3, 1).unwrap() as u8));
            last = Some(at);
        }
        found
    }
}

#[test]
fn what_is_offered_is_shown_in_halves() {
    let card = Card::new(VirtioNetOptions::default());
    let half = |select| {
        card.bar.write32(DEVICE_FEATURE_SELECT, select);
        card.bar.read32(DEVICE_FEATURE)
    };
    let (lower, upper) = (half(0), half(1));
    assert_eq!((lower & LOWER, upper & UPPER), (LOWER, UPPER));
    assert_eq!([half(2), half(3), half(u32::MAX)], [0; 3], "there is nothing beyond");
    assert_eq!((half(1), half(0)), (upper, lower));
}

#[test]
fn features_that_were_written_read_back_and_any_set_of_them_is_taken() {
    for (lower, upper) in [(0, 1), (LOWER, UPPER), (1 << 5, 1), (1 << 15, UPPER)] {
        let card = Card::new(VirtioNetOptions::default());
        for _ in 0..2 {
            card.accept(lower, upper);
            assert_eq!(card.bar.read8(STATUS), 11, "FEATURES_OK stays");
            for (select, half) in [(0, lower), (1, upper)] {
                card.bar.write32(DRIVER_FEATURE_SELECT, select);
                assert_eq!(card.bar.read32(DRIVER_FEATURE), half);
            }
            // The same once more behind a reset.
            card.reset();
        }
    }
}

#[test]
fn a_reset_makes_everything_what_it_was() {
    let card = Card::new(VirtioNetOptions::default());
    let (offered, queues) = (card.bar.read32(DEVICE_FEATURE), card.bar.read16(NUM_QUEUES));
    card.accept(LOWER, UPPER);
    card.bar.write16(CONFIG_MSIX_VECTOR, 1);
    for queue in 0..queues {
        card.bar.write16(QUEUE_SELECT, queue);
        card.bar.write16(QUEUE_SIZE, 64);
        card.bar.write16(QUEUE_MSIX_VECTOR, 0);
        for k in 0..3 {
            card.bar.write32(QUEUE_DESC + 8 * k, 0x1000);
        }
        card.bar.write16(QUEUE_ENABLE, 1);
        assert_eq!(card.bar.read16(QUEUE_ENABLE), 1);
    }
    card.bar.write8(STATUS, 0);
    assert_ne!(card.bar.read8(STATUS), 0, "not done yet");
    card.device.advance_us(100);
    card.device.step();
    assert_eq!(card.bar.read8(STATUS), 0);
    assert_eq!((card.bar.read32(DEVICE_FEATURE), card.bar.read16(NUM_QUEUES), card.bar.read16(CONFIG_MSIX_VECTOR)), (offered, queues, NO_VECTOR));
    for queue in 0..queues {
        card.bar.write16(QUEUE_SELECT, queue);
        let fields = [QUEUE_SIZE, QUEUE_MSIX_VECTOR, QUEUE_ENABLE].map(|field| card.bar.read16(field));
        assert_eq!(fields, [256, NO_VECTOR, 0], "queue {queue}");
        assert_eq!([0, 1, 2].map(|k| card.bar.read32(QUEUE_DESC + 8 * k)), [0; 3]);
    }
}

#[test]
fn a_queue_that_is_not_there_has_no_size() {
    let card = Card::new(VirtioNetOptions::default());
    for queue in [card.bar.read16(NUM_QUEUES), 100, u16::MAX] {
        card.bar.write16(QUEUE_SELECT, queue);
        assert_eq!(card.bar.read16(QUEUE_SIZE), 0, "queue {queue}");
    }
}

#[test]
fn vectors_are_mapped_unmapped_and_read_back() {
    let card = Card::new(VirtioNetOptions::default());
    assert_eq!(card.bar.read16(CONFIG_MSIX_VECTOR), NO_VECTOR, "none at first");
    card.accept(LOWER, UPPER);
    for vector in [0, 1, 2, NO_VECTOR, 1] {
        card.bar.write16(CONFIG_MSIX_VECTOR, vector);
        assert_eq!(card.bar.read16(CONFIG_MSIX_VECTOR), vector);
        for queue in 0..2 {
            card.bar.write16(QUEUE_SELECT, queue);
            card.bar.write16(QUEUE_MSIX_VECTOR, vector);
            assert_eq!(card.bar.read16(QUEUE_MSIX_VECTOR), vector);
        }
    }
    card.bar.write16(CONFIG_MSIX_VECTOR, 77);
    assert_eq!(card.bar.read16(CONFIG_MSIX_VECTOR), NO_VECTOR, "the card has no such vector");
}

/// Offset 4-byte aligned, the notification structure as long as all queues' addresses need it, the multiplier a power of two or 0; one of each kind at least.
#[test]
fn capabilities_lie_where_they_must() {
    for multiplier in [0, 2, 4] {
        let card = Card::new(VirtioNetOptions::default().notify_off_multiplier(multiplier));
        let structures = card.structures();
        for kind in 1..=5 {
            assert!(structures.iter().any(|&(_, one)| one == kind), "kind {kind}");
        }
        let read = |at| card.function.config_read(at, 4).unwrap();
        for &(at, kind) in &structures {
            assert_eq!((read(at + 8) % 4, read(at + 12) % 4), (0, 0), "kind {kind}");
            let len = card.function.config_read(at + 2, 1).unwrap();
            assert_eq!(len, if matches!(kind, 2 | 5) { 20 } else { 16 }, "kind {kind}: with what lies behind the capability");
            if kind == 2 {
                assert_eq!(read(at + 16), multiplier);
                let last = u32::from(card.bar.read16(NUM_QUEUES)) - 1;
                assert!(read(at + 12) >= last * multiplier + 2);
            }
        }
    }
}

#[test]
fn the_window_reads_and_writes_what_it_points_at() {
    let mut card = Card::new(VirtioNetOptions::default());
    let mut aim = |offset: u32, width: u32| {
        for (at, bytes, value) in [(WINDOW + 4, 1, 4), (WINDOW + 8, 4, offset), (WINDOW + 12, 4, width)] {
            // SAFETY: the window leads to registers that name no memory.
            unsafe { card.function.config_write(at, bytes, value) }.unwrap();
        }
    };
    aim(STATUS, 1);
    // SAFETY: as above.
    unsafe { card.function.config_write(WINDOW + 16, 1, 1) }.unwrap();
    assert_eq!((card.bar.read8(STATUS), card.function.config_read(WINDOW + 16, 1).unwrap()), (1, 1));
    assert!(card.device.violations().is_empty());
}

/// The device configuration is there from the beginning on (2.5.2), and the ISR status tells nothing before anything happened.
#[test]
fn the_configuration_can_be_read_before_features_are_accepted() {
    let card = Card::new(VirtioNetOptions::default());
    card.bar.write8(STATUS, 1);
    card.bar.write8(STATUS, 3);
    let mac: Vec<_> = (0..6).map(|k| card.bar.read8(DEVICE + k)).collect();
    assert_eq!(mac, [0x02, 0x00, 0x00, 0x1a, 0xf4, 0x41]);
    assert_eq!(card.bar.read8(ISR), 0);
    assert!(card.device.violations().is_empty(), "{:?}", card.device.violations());
}

#[test]
fn the_isr_status_tells_of_a_changed_configuration_and_forgets_it_when_it_was_read() {
    let card = Card::new(VirtioNetOptions::default());
    card.accept(LOWER, UPPER);
    card.bar.write8(STATUS, 15);
    // SAFETY: the model is told that it lost its way, and not exchanged.
    unsafe { card.device.with_model(|model: &mut VirtioNet| model.lose_its_way()) };
    card.device.step();
    assert_eq!(card.bar.read8(STATUS) & 0x40, 0x40, "DEVICE_NEEDS_RESET");
    assert_eq!((card.bar.read8(ISR), card.bar.read8(ISR)), (2, 0));
}
