//! The simulated virtio card as a memory mapped device, by raw register access: what it must do (4.2.2.1), and what a driver must not, each noted.

use driver_core::host::{Iova, PciFunction, RegSpace};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::peer;
use sim::{Iommu, SimBar, SimDevice, SimFunction};

const MAGIC_VALUE: u32 = 0x000;
const VERSION: u32 = 0x004;
const DEVICE_ID: u32 = 0x008;
const DEVICE_FEATURES: u32 = 0x010;
const DEVICE_FEATURES_SEL: u32 = 0x014;
const DRIVER_FEATURES: u32 = 0x020;
const DRIVER_FEATURES_SEL: u32 = 0x024;
const QUEUE_SEL: u32 = 0x030;
const QUEUE_SIZE_MAX: u32 = 0x034;
const QUEUE_SIZE: u32 = 0x038;
const QUEUE_READY: u32 = 0x044;
const QUEUE_NOTIFY: u32 = 0x050;
const INTERRUPT_STATUS: u32 = 0x060;
const INTERRUPT_ACK: u32 = 0x064;
const STATUS: u32 = 0x070;
const QUEUE_DESC_LOW: u32 = 0x080;
const SHM_SEL: u32 = 0x0ac;
const CONFIG_GENERATION: u32 = 0x0fc;
const CONFIG: u32 = 0x100;

/// VIRTIO_NET_F_STATUS, and VIRTIO_F_VERSION_1 in the upper half.
const NET_STATUS: u32 = 1 << 16;
const VERSION_1: u32 = 1;

struct Block {
    device: SimDevice,
    bar: SimBar,
    _function: SimFunction,
}

impl Block {
    fn new() -> Self {
        let model = VirtioNet::new(VirtioNetOptions::new().mmio(true));
        let device = SimDevice::new("sim:virtio-net", Box::new(model), Box::new(peer::pair(4).0), Iommu::new());
        let mut function = device.function();
        // SAFETY: queues get the addresses of no memory, and nothing is made available in them.
        let bar = unsafe { function.open_bar(0) }.unwrap();
        Self { device, bar, _function: function }
    }

    fn read(&self, offset: u32) -> u32 {
        self.bar.read32(offset)
    }

    fn write(&self, offset: u32, value: u32) {
        self.bar.write32(offset, value);
    }

    fn probe(&self) -> [u32; 3] {
        [MAGIC_VALUE, VERSION, DEVICE_ID].map(|register| self.read(register))
    }

    /// Up to FEATURES_OK.
    fn negotiate(&self) {
        self.probe();
        for (half, features) in [(0, NET_STATUS), (1, VERSION_1)] {
            if half == 0 {
                self.write(STATUS, 1);
                self.write(STATUS, 3);
            }
            self.write(DRIVER_FEATURES_SEL, half);
            self.write(DRIVER_FEATURES, features);
        }
        self.write(STATUS, 11);
        assert_eq!(self.read(STATUS), 11);
    }

    /// Both queues, at addresses that lead nowhere, and DRIVER_OK.
    fn go_live(&self) {
        for queue in 0..2 {
            self.write(QUEUE_SEL, queue);
            self.write(QUEUE_SIZE, 8);
            for (area, offset) in [0x80, 0x90, 0xa0].into_iter().enumerate() {
                self.write(offset, Iova(0x10_0000).offset(0x1000 * area as u64).0 as u32);
                self.write(offset + 4, 0);
            }
            self.write(QUEUE_READY, 1);
        }
        self.write(STATUS, 15);
    }

    fn whats(&self) -> Vec<String> {
        self.device.take_violations().iter().map(|violation| violation.what.to_string()).collect()
    }

    fn pass(&self) {
        self.device.advance_us(100);
        self.device.step();
    }
}

#[test]
fn it_says_what_it_is() {
    let block = Block::new();
    assert_eq!(block.probe(), [0x7472_6976, 2, 1]);
    assert_eq!(block.whats(), [""; 0]);
}

#[test]
fn a_queue_that_is_not_there_has_no_size_and_a_reset_makes_none_ready() {
    let block = Block::new();
    block.negotiate();
    for (queue, size) in [(0, 256), (1, 256), (2, 256), (3, 0), (0xffff, 0)] {
        block.write(QUEUE_SEL, queue);
        assert_eq!((block.read(QUEUE_SIZE_MAX), block.read(QUEUE_READY)), (size, 0), "queue {queue}");
    }
    block.go_live();
    block.write(QUEUE_SEL, 0);
    assert_eq!(block.read(QUEUE_READY), 1);
    block.device.set_carrier(false);
    block.pass();
    assert_eq!(block.read(INTERRUPT_STATUS), 2);
    block.write(STATUS, 0);
    block.pass();
    assert_eq!((block.read(STATUS), block.read(INTERRUPT_STATUS)), (0, 0));
    block.write(QUEUE_SEL, 0);
    assert_eq!(block.read(QUEUE_READY), 0);
    assert_eq!(block.whats(), [""; 0]);
}

#[test]
fn an_event_stays_until_it_is_acknowledged_and_the_generation_moves_with_it() {
    let block = Block::new();
    block.negotiate();
    block.go_live();
    let before = block.read(CONFIG_GENERATION);
    assert_eq!(block.read(INTERRUPT_STATUS), 0);
    block.device.set_carrier(false);
    block.pass();
    assert_eq!((block.read(INTERRUPT_STATUS), block.read(INTERRUPT_STATUS)), (2, 2));
    assert_ne!(block.read(CONFIG_GENERATION), before);
    assert_eq!(block.bar.read16(CONFIG + 6) & 1, 0, "the link is down");
    block.write(INTERRUPT_ACK, 2);
    assert_eq!(block.read(INTERRUPT_STATUS), 0);
    assert_eq!(block.whats(), [""; 0]);
    // What did not take place cannot have been handled.
    for value in [0, 1, 4] {
        block.write(INTERRUPT_ACK, value);
        assert_eq!(block.whats(), ["something else is acknowledged than what took place"], "{value}");
    }
}

#[test]
fn nothing_comes_before_the_device_was_recognised() {
    for first in [STATUS, CONFIG_GENERATION, DEVICE_ID, VERSION] {
        let block = Block::new();
        block.read(first);
        assert_eq!(block.whats(), ["a register is accessed before MagicValue, Version and DeviceID say so"], "{first:#x}");
    }
}

#[test]
fn accesses_of_the_wrong_width_or_direction_are_noted() {
    let block = Block::new();
    block.probe();
    block.bar.read8(STATUS);
    block.bar.write16(QUEUE_SEL, 1);
    block.bar.read64(DEVICE_FEATURES);
    let wide = "a control register is accessed by another width than 32 bits";
    assert_eq!(block.whats(), [wide; 3]);
    // Written ones, what the table does not have, and shared memory.
    for offset in [DEVICE_FEATURES_SEL, DRIVER_FEATURES, QUEUE_SEL, QUEUE_SIZE, QUEUE_NOTIFY, INTERRUPT_ACK, QUEUE_DESC_LOW, 0x18, SHM_SEL, 0xb0] {
        block.read(offset);
        assert_eq!(block.whats(), ["a read of a register that is not read"], "{offset:#x}");
    }
    for offset in [MAGIC_VALUE, DEVICE_FEATURES, QUEUE_SIZE_MAX, INTERRUPT_STATUS, CONFIG_GENERATION, 0x18, 0x88, 0xa8, SHM_SEL] {
        block.write(offset, 0);
        assert_eq!(block.whats(), ["a write to a register that is not written"], "{offset:#x}");
    }
}

#[test]
fn features_are_selected_first() {
    let block = Block::new();
    block.probe();
    block.write(STATUS, 1);
    block.write(STATUS, 3);
    block.read(DEVICE_FEATURES);
    block.write(DRIVER_FEATURES, 0);
    assert_eq!(block.whats(), ["features are read before they are selected", "features are written before they are selected"]);
    block.write(DEVICE_FEATURES_SEL, 1);
    block.write(DRIVER_FEATURES_SEL, 1);
    assert_eq!(block.read(DEVICE_FEATURES) & VERSION_1, VERSION_1);
    block.write(DRIVER_FEATURES, VERSION_1);
    assert_eq!(block.whats(), [""; 0]);
}

#[test]
fn the_configuration_is_read_by_the_width_of_its_fields() {
    let block = Block::new();
    block.negotiate();
    assert_eq!((block.bar.read8(CONFIG), block.bar.read16(CONFIG + 10)), (2, 9000));
    assert_eq!(block.whats(), [""; 0]);
    block.bar.read32(CONFIG);
    assert!(block.whats().contains(&"an access of another width than the field's".into()));
    block.bar.write16(CONFIG + 10, 0);
    assert_eq!(block.whats(), ["a write to a field that is only read"]);
}

#[test]
fn a_queue_is_neither_too_long_nor_changed_while_it_is_ready() {
    let block = Block::new();
    block.negotiate();
    block.write(QUEUE_SEL, 0);
    block.write(QUEUE_SIZE, 512);
    assert_eq!(block.whats(), ["a queue is made longer than QueueSizeMax"]);
    block.go_live();
    block.write(QUEUE_SEL, 0);
    for offset in [QUEUE_SIZE, QUEUE_DESC_LOW, 0x84, 0x90, 0xa4] {
        block.write(offset, 8);
        assert_eq!(block.whats(), ["a queue is changed while it is ready"], "{offset:#x}");
    }
}

#[test]
fn notifications_name_a_queue_of_a_live_device() {
    let block = Block::new();
    block.negotiate();
    block.write(QUEUE_NOTIFY, 0);
    block.go_live();
    block.write(QUEUE_NOTIFY, 3);
    block.write(QUEUE_NOTIFY, 1 << 16);
    assert_eq!(block.whats(), ["a notification of the wrong form or at the wrong time"; 3]);
    // SAFETY: the model is looked at, and not exchanged.
    let count = || unsafe { block.device.with_model(|model: &mut VirtioNet| model.counters().notifications[1]) }.unwrap();
    assert_eq!(count(), 0);
    block.write(QUEUE_NOTIFY, 1);
    assert_eq!((count(), block.whats()), (1, vec![]));
}
