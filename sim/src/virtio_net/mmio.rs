//! The card's registers as a memory mapped device has them (4.2.2), in BAR 0: the block that a platform knows the place of.
//!
//! Its one interrupt line is the function's only vector: a message goes out when the line rises, and where it is still up behind an acknowledgement.

use super::VirtioNet;
use super::regs::*;
use crate::slot::Slot;

const MAGIC_VALUE: u32 = 0x000;
const VERSION: u32 = 0x004;
const DEVICE_ID: u32 = 0x008;
const VENDOR_ID: u32 = 0x00c;
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
/// QueueDescLow, QueueDescHigh, and 0x10 further each those of the driver's and the device's area.
const QUEUE_DESC_LOW: u32 = 0x080;
const QUEUE_DEVICE_HIGH: u32 = 0x0a4;
const QUEUE_RESET: u32 = 0x0c0;
const CONFIG_GENERATION: u32 = 0x0fc;
const CONFIG: u32 = 0x100;

/// "virt", as a little-endian number.
const MAGIC: u32 = 0x7472_6976;
/// A network card (5.1.1).
const NETWORK_CARD: u32 = 1;
/// Events of InterruptStatus.
const USED_BUFFER: u8 = 1;
const CONFIG_CHANGE: u8 = 2;

/// In which directions a register goes: to be read, to be written.
fn directions(offset: u32) -> (bool, bool) {
    match offset {
        MAGIC_VALUE | VERSION | DEVICE_ID | VENDOR_ID | DEVICE_FEATURES | QUEUE_SIZE_MAX | INTERRUPT_STATUS | CONFIG_GENERATION => (true, false),
        DEVICE_FEATURES_SEL | DRIVER_FEATURES | DRIVER_FEATURES_SEL | QUEUE_SEL | QUEUE_SIZE | QUEUE_NOTIFY | INTERRUPT_ACK => (false, true),
        QUEUE_READY | QUEUE_RESET | STATUS => (true, true),
        _ => (false, area(offset).is_some()),
    }
}

/// Which half of which area's address a register is.
fn area(offset: u32) -> Option<u32> {
    let at = offset.checked_sub(QUEUE_DESC_LOW)?;
    (offset <= QUEUE_DEVICE_HIGH && matches!(at % 0x10, 0 | 4)).then_some(at / 0x10 * 8 + at % 0x10)
}

impl VirtioNet {
    pub(super) fn read_block(&mut self, slot: &Slot<'_>, offset: u32, width: u8) -> u64 {
        if offset >= CONFIG {
            self.judge_probe(slot, offset);
            return self.read_device(slot, offset - CONFIG, width);
        }
        if !self.judge_access(slot, offset, width, false) {
            return u64::MAX;
        }
        let queue = self.place_of(self.queue_select.into()).and_then(|place| self.queues.get(place));
        match offset {
            MAGIC_VALUE => self.faults.magic.unwrap_or(MAGIC).into(),
            VERSION => self.faults.version.unwrap_or(2).into(),
            DEVICE_ID => self.faults.device_id.unwrap_or(NETWORK_CARD).into(),
            VENDOR_ID => 0x554d_4551,
            DEVICE_FEATURES => {
                if !self.block.selected[0] {
                    slot.violation("features are read before they are selected", format_args!("DeviceFeatures"), 0, "4.2.2.2");
                }
                if self.device_feature_select < 2 { u64::from((self.options.features >> (32 * self.device_feature_select)) as u32) } else { 0 }
            }
            QUEUE_SIZE_MAX => queue.map_or(0, |_| self.faults.queue_size.unwrap_or(self.options.queue_size)).into(),
            QUEUE_RESET => self.read_queue_reset(slot),
            QUEUE_READY => queue.is_some_and(|queue| queue.enabled).into(),
            INTERRUPT_STATUS => (u32::from(self.isr) | self.faults.isr).into(),
            STATUS => self.status.into(),
            _ => {
                self.generation = self.generation.wrapping_add(self.faults.restless.into());
                self.generation.into()
            }
        }
    }

    pub(super) fn write_block(&mut self, slot: &Slot<'_>, offset: u32, width: u8, value: u64) {
        if offset >= CONFIG {
            slot.violation("a write to a field that is only read", format_args!("device configuration, offset {offset:#x}"), value, "5.1.4");
            return;
        }
        if !self.judge_access(slot, offset, width, true) {
            return;
        }
        match offset {
            DEVICE_FEATURES_SEL => (self.device_feature_select, self.block.selected[0]) = (value as u32, true),
            DRIVER_FEATURES_SEL => (self.driver_feature_select, self.block.selected[1]) = (value as u32, true),
            DRIVER_FEATURES => {
                if !self.block.selected[1] {
                    slot.violation("features are written before they are selected", format_args!("DriverFeatures"), value, "4.2.2.2");
                }
                self.write_features(slot, value);
                if self.has(VIRTIO_F_NOTIF_CONFIG_DATA) {
                    slot.violation("a feature is accepted that this transport has no register for", format_args!("DriverFeatures"), value, "4.2");
                }
            }
            QUEUE_SEL => self.queue_select = value as u16,
            QUEUE_NOTIFY => self.notify_block(slot, value),
            QUEUE_RESET => self.write_queue_reset(slot, value),
            INTERRUPT_ACK => self.acknowledge(slot, value),
            STATUS => self.write_status(slot, value as u8),
            _ => self.write_block_queue(slot, offset, value),
        }
    }

    /// 4.2.2.2, 4.2.3.1.1: what every access must be.
    fn judge_access(&mut self, slot: &Slot<'_>, offset: u32, width: u8, writes: bool) -> bool {
        if width != 4 {
            slot.violation(
                "a control register is accessed by another width than 32 bits",
                format_args!("offset {offset:#x}"),
                width.into(),
                "4.2.2.2",
            );
            return false;
        }
        let (readable, writable) = directions(offset);
        if !(if writes { writable } else { readable }) {
            let what = if writes { "a write to a register that is not written" } else { "a read of a register that is not read" };
            slot.violation(what, format_args!("offset {offset:#x}"), 0, "4.2.2.2");
            return false;
        }
        self.judge_probe(slot, offset);
        if self.reset_done_us.is_some() && !matches!(offset, STATUS | MAGIC_VALUE | VERSION | DEVICE_ID) {
            slot.violation("a register was accessed during the reset", format_args!("offset {offset:#x}"), 0, "2.4.2");
            return !writes;
        }
        true
    }

    /// 4.2.3.1.1: MagicValue, Version and DeviceID come first, and nothing behind a DeviceID of 0.
    fn judge_probe(&mut self, slot: &Slot<'_>, offset: u32) {
        let step = match offset {
            MAGIC_VALUE => 1,
            VERSION => 2,
            DEVICE_ID => 3,
            _ => 4,
        };
        if step <= 3 && self.block.probed >= step - 1 {
            self.block.probed = self.block.probed.max(step);
        } else if self.block.probed < 3 || self.faults.device_id == Some(0) {
            slot.violation(
                "a register is accessed before MagicValue, Version and DeviceID say so",
                format_args!("offset {offset:#x}"),
                0,
                "4.2.3.1.1",
            );
        }
    }

    /// QueueSize, QueueReady, and the addresses.
    fn write_block_queue(&mut self, slot: &Slot<'_>, offset: u32, value: u64) {
        let select = self.queue_select;
        let is_ready = self.place_of(select.into()).and_then(|place| self.queues.get(place)).is_some_and(|queue| queue.enabled);
        if is_ready && offset != QUEUE_READY {
            slot.violation("a queue is changed while it is ready", format_args!("queue {select}, offset {offset:#x}"), value, "4.2.2.2");
            return;
        }
        match (offset, area(offset)) {
            (QUEUE_SIZE, _) if value > self.options.queue_size.into() => {
                slot.violation("a queue is made longer than QueueSizeMax", format_args!("queue {select}"), value, "4.2.2.2");
            }
            (QUEUE_SIZE, _) => self.write_queue(slot, common::QUEUE_SIZE, value),
            (_, Some(half)) => self.write_queue(slot, common::QUEUE_ADDRESSES + half, value),
            _ => self.write_queue(slot, common::QUEUE_ENABLE, value),
        }
    }

    /// 4.2.3.3: the queue's index in 16 bits, or with VIRTIO_F_NOTIFICATION_DATA how far it is above.
    fn notify_block(&mut self, slot: &Slot<'_>, value: u64) {
        let tells_next = self.has(VIRTIO_F_NOTIFICATION_DATA);
        let is_there = self.place_of(usize::from(value as u16)).is_some() && (tells_next || value <= u16::MAX.into());
        if !is_there || !self.is(VIRTIO_CONFIG_S_DRIVER_OK) {
            slot.violation("a notification of the wrong form or at the wrong time", format_args!("QueueNotify"), value, "4.2.3.3");
            return;
        }
        self.take_notification(slot, usize::from(value as u16), tells_next.then_some((value >> 16) as u16));
    }

    /// InterruptACK: what was handled is not said any more.
    fn acknowledge(&mut self, slot: &Slot<'_>, value: u64) {
        if value == 0 || value & !u64::from(self.isr) != 0 {
            slot.violation("something else is acknowledged than what took place", format_args!("InterruptACK"), value, "4.2.2.2");
        }
        self.isr &= !(value as u8);
        if self.isr != 0 {
            self.msix.raise(slot, 0);
        }
    }

    /// An event takes place: the line rises, where it is not up.
    fn raise_line(&mut self, slot: &Slot<'_>, event: u8) {
        let was_up = self.isr != 0;
        self.isr |= event;
        if !was_up {
            self.msix.raise(slot, 0);
        }
    }

    /// Tells of used buffers by the queue's `vector`, or by the line.
    pub(super) fn tell_of_buffers(&mut self, slot: &Slot<'_>, vector: u16) {
        if self.options.mmio {
            return self.raise_line(slot, USED_BUFFER);
        }
        self.isr |= 1;
        if vector != NO_VECTOR && self.faults.lost_vector != Some(vector) {
            self.msix.raise(slot, vector);
        }
    }

    /// The same of a change of the configuration.
    pub(super) fn tell_of_change(&mut self, slot: &Slot<'_>) {
        if self.options.mmio {
            return self.raise_line(slot, CONFIG_CHANGE);
        }
        self.isr |= 2;
        if self.config_vector != NO_VECTOR {
            self.msix.raise(slot, self.config_vector);
        }
    }
}
