//! Accesses to the structures: common configuration (4.1.4.3), ISR (4.1.4.5), device configuration (5.1.4), notifications (4.1.4.4).

use super::VirtioNet;
use super::flow::{KEY_BYTES, hash};
use super::regs::*;
use super::sets::RSS_TABLE;
use crate::slot::Slot;

/// Bytes of struct virtio_net_config as far as the model has it: up to `supported_hash_types`.
const NET_CONFIG_BYTES: u32 = 24;

impl VirtioNet {
    pub(super) fn read_structure(&mut self, slot: &Slot<'_>, offset: u32, width: u8) -> u64 {
        match offset {
            COMMON_AT..ISR_AT => self.read_common(slot, offset - COMMON_AT, width),
            ISR_AT..DEVICE_AT => std::mem::take(&mut self.isr).into(),
            DEVICE_AT..NOTIFY_AT => self.read_device(slot, offset - DEVICE_AT, width),
            _ => 0,
        }
    }

    pub(super) fn write_structure(&mut self, slot: &Slot<'_>, offset: u32, width: u8, value: u64) {
        match offset {
            COMMON_AT..ISR_AT => self.write_common(slot, offset - COMMON_AT, width, value),
            NOTIFY_AT.. => self.notify(slot, offset - NOTIFY_AT, width, value),
            _ => slot.violation("a write to a structure that is only read", format_args!("offset {offset:#x}"), value, "4.1.4"),
        }
    }

    /// 4.1.3.1: "the driver MUST use 8-bit wide accesses for 8-bit wide fields, 16-bit wide and aligned accesses for 16-bit wide fields" and so on.
    fn check_width(slot: &Slot<'_>, offset: u32, width: u8, wanted: Option<u8>) -> bool {
        let right = wanted == Some(width);
        if !right {
            slot.violation("an access of another width than the field's", format_args!("offset {offset:#x}, {width} bytes"), 0, "4.1.3.1");
        }
        right
    }

    fn read_common(&mut self, slot: &Slot<'_>, offset: u32, width: u8) -> u64 {
        if !Self::check_width(slot, offset, width, common::width(offset)) {
            return u64::MAX;
        }
        if self.reset_done_us.is_some() && offset != common::STATUS {
            slot.violation("a register was read during the reset", format_args!("common configuration, offset {offset:#x}"), 0, "4.1.4.3.2");
        }
        let queue = self.place_of(self.queue_select.into()).and_then(|place| self.queues.get(place));
        let half = |value: u64, select: u32| if select < 2 { u64::from((value >> (32 * select)) as u32) } else { 0 };
        match offset {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select.into(),
            common::DEVICE_FEATURE => half(self.options.features, self.device_feature_select),
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select.into(),
            common::DRIVER_FEATURE => half(self.driver_features, self.driver_feature_select),
            common::MSIX_CONFIG => self.config_vector.into(),
            common::NUM_QUEUES => self.queue_count() as u64,
            common::STATUS => self.status.into(),
            common::GENERATION => {
                self.generation = self.generation.wrapping_add(self.faults.restless.into());
                self.generation.into()
            }
            common::QUEUE_SELECT => self.queue_select.into(),
            common::QUEUE_SIZE => queue.map_or(0, |queue| self.faults.queue_size.unwrap_or(queue.size)).into(),
            common::QUEUE_MSIX => queue.map_or(NO_VECTOR, |queue| queue.vector).into(),
            common::QUEUE_ENABLE => queue.is_some_and(|queue| queue.enabled).into(),
            common::QUEUE_NOTIFY_OFF => self.queue_select.into(),
            common::QUEUE_NOTIF_CONFIG_DATA if queue.is_none() => 0,
            common::QUEUE_NOTIF_CONFIG_DATA if self.has(VIRTIO_F_NOTIF_CONFIG_DATA) => self.notify_value(self.queue_select).into(),
            common::QUEUE_NOTIF_CONFIG_DATA => {
                slot.violation(
                    "queue_notif_config_data is read, which was not negotiated",
                    format_args!("queue {}", self.queue_select),
                    0,
                    "4.1.4.3",
                );
                u64::MAX
            }
            common::QUEUE_RESET => self.read_queue_reset(slot),
            _ => {
                let (area, high) = ((offset - common::QUEUE_ADDRESSES) as usize / 8, !offset.is_multiple_of(8));
                let stuck = u64::from(self.faults.stuck_address) << 12;
                let address = queue.and_then(|queue| queue.areas.get(area)).copied().unwrap_or(0) & !stuck;
                half(address, high.into())
            }
        }
    }

    fn write_common(&mut self, slot: &Slot<'_>, offset: u32, width: u8, value: u64) {
        if !Self::check_width(slot, offset, width, common::width(offset)) {
            return;
        }
        if self.reset_done_us.is_some() {
            slot.violation("a register was written during the reset", format_args!("common configuration, offset {offset:#x}"), value, "4.1.4.3.2");
            return;
        }
        match offset {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select = value as u32,
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select = value as u32,
            common::DRIVER_FEATURE => self.write_features(slot, value),
            common::MSIX_CONFIG => self.config_vector = self.vector(slot, value as u16),
            common::STATUS => self.write_status(slot, value as u8),
            common::QUEUE_SELECT => self.queue_select = value as u16,
            common::QUEUE_RESET => self.write_queue_reset(slot, value),
            common::QUEUE_SIZE.. => self.write_queue(slot, offset, value),
            _ => {
                slot.violation("a write to a register that is only read", format_args!("common configuration, offset {offset:#x}"), value, "4.1.4.3");
            }
        }
    }

    /// 4.1.5.1.2.1: a vector that the device cannot serve reads back as NO_VECTOR.
    fn vector(&self, slot: &Slot<'_>, vector: u16) -> u16 {
        if vector != NO_VECTOR && vector >= self.msix.count() {
            slot.violation("a vector that the function does not have", format_args!("MSI-X vector"), vector.into(), "4.1.5.1.2.2");
        }
        if vector >= self.msix.count() || self.faults.refuse_vector == Some(vector) { NO_VECTOR } else { vector }
    }

    pub(super) fn write_features(&mut self, slot: &Slot<'_>, value: u64) {
        let select = self.driver_feature_select;
        let is_settled = self.is(VIRTIO_CONFIG_S_FEATURES_OK);
        if is_settled || !self.is(VIRTIO_CONFIG_S_DRIVER) {
            slot.violation("features are written outside their step", format_args!("driver_feature"), value, "3.1.1");
        }
        // Before its step they are kept, as QEMU keeps them: iPXE writes them first when it opens a card again.
        if is_settled {
            return;
        }
        if select < 2 {
            let shift = 32 * select;
            self.driver_features = self.driver_features & !(0xffff_ffff << shift) | value << shift;
        }
        if self.driver_features & !self.options.features != 0 {
            slot.violation("a feature is accepted that was not offered", format_args!("driver_feature"), self.driver_features, "2.2.1");
        }
    }

    /// 2.1, 3.1.1: bits are only added, in their order; 0 is a reset.
    pub(super) fn write_status(&mut self, slot: &Slot<'_>, value: u8) {
        if value == 0 {
            self.reset_done_us = Some(if self.faults.reset_stuck { u64::MAX } else { slot.now_us() + self.options.reset_us });
            // A status of 0 already needs no wait, but reads back 0 only when the reset is done.
            self.status = self.status.max(VIRTIO_CONFIG_S_ACKNOWLEDGE as u8);
            return;
        }
        let (before, new) = (self.status, u32::from(value & !self.status));
        let wrong = |what| slot.violation(what, format_args!("device_status, was {before:#x}"), value.into(), "2.1.1");
        if before & !value != 0 {
            wrong("a status bit is cleared");
        }
        let order = [
            (VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_ACKNOWLEDGE),
            (VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER),
            (VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK),
        ];
        for (bit, needed) in order {
            if new & bit != 0 && u32::from(before) & needed == 0 {
                wrong("a status bit is set before the one that it needs");
            }
        }
        if before & VIRTIO_CONFIG_S_NEEDS_RESET as u8 == 0 && new & VIRTIO_CONFIG_S_NEEDS_RESET != 0 {
            wrong("the driver sets DEVICE_NEEDS_RESET");
        }
        self.status |= value;
        if new & VIRTIO_CONFIG_S_FEATURES_OK != 0 && (self.faults.refuse_features || !self.has(VIRTIO_F_VERSION_1)) {
            self.status &= !(VIRTIO_CONFIG_S_FEATURES_OK as u8);
        } else if new & VIRTIO_CONFIG_S_FEATURES_OK != 0 && self.has(VIRTIO_NET_F_CTRL_VLAN) {
            // 5.1.6.5.3.1: no VLAN passes that was not added.
            self.ctrl.filter.vlans = Some(Box::new([false; 4096]));
        }
        if new & VIRTIO_CONFIG_S_DRIVER_OK != 0 && self.is_missing_a_queue() {
            wrong("DRIVER_OK before every queue was enabled");
        }
        if self.is(VIRTIO_CONFIG_S_FAILED) {
            self.queues.iter_mut().for_each(|queue| queue.enabled = false);
        }
    }

    /// Whether a queue that every driver uses is not enabled: those of the first pair, and the control queue where it was negotiated. Pairs beside the first are looked at
    /// when they are put to use.
    fn is_missing_a_queue(&self) -> bool {
        let needed = 0..2 + usize::from(self.has(VIRTIO_NET_F_CTRL_VQ));
        needed.into_iter().map(|index| if index < 2 { index } else { self.control() }).any(|place| !self.queues[place].enabled)
    }

    /// Fields of the selected queue (4.1.5.1.3).
    pub(super) fn write_queue(&mut self, slot: &Slot<'_>, offset: u32, value: u64) {
        let (select, max, is_packed) = (self.queue_select, self.options.queue_size, self.has(VIRTIO_F_RING_PACKED));
        let early = !self.is(VIRTIO_CONFIG_S_FEATURES_OK);
        let late = self.is(VIRTIO_CONFIG_S_DRIVER_OK);
        let vector = if offset == common::QUEUE_MSIX { self.vector(slot, value as u16) } else { NO_VECTOR };
        // To take the vector away (4.1.5.1.2) is no set-up: Linux does it last, to a card that was reset and has forgotten how many queues were agreed on.
        let unmaps = offset == common::QUEUE_MSIX && value == u64::from(NO_VECTOR);
        let place = self.place_of(select.into());
        let Some(queue) = place.and_then(|place| self.queues.get_mut(place)) else {
            if unmaps && early && usize::from(select) < self.queues.len() {
                return;
            }
            slot.violation("a field of a queue that is not there", format_args!("queue {select}, offset {offset:#x}"), value, "4.1.4.3");
            return;
        };
        // A queue that was reset alone is set up once more (2.6.1.2), when that is over.
        let late = late && !queue.was_reset;
        if (early || late || queue.enabled || queue.reset_done_us.is_some()) && !unmaps {
            slot.violation("a queue is set up outside its step", format_args!("queue {select}, offset {offset:#x}"), value, "3.1.1");
            return;
        }
        match offset {
            common::QUEUE_SIZE => queue.size = value as u16,
            common::QUEUE_MSIX => queue.vector = vector,
            common::QUEUE_ENABLE if value == 1 => {
                queue.check(slot, select.into(), max, is_packed);
                (queue.enabled, queue.was_reset) = (true, false);
                self.counters.enabled += 1;
            }
            common::QUEUE_ADDRESSES.. => {
                let (area, shift) = ((offset - common::QUEUE_ADDRESSES) as usize / 8, if offset.is_multiple_of(8) { 0 } else { 32 });
                if let Some(address) = queue.areas.get_mut(area) {
                    *address = *address & !(0xffff_ffff << shift) | value << shift;
                }
            }
            _ => slot.violation("a value or field that is not to be written", format_args!("queue {select}, offset {offset:#x}"), value, "4.1.4.3.2"),
        }
    }

    pub(super) fn read_device(&mut self, slot: &Slot<'_>, offset: u32, width: u8) -> u64 {
        // mac is bytes; status, max_virtqueue_pairs and mtu are le16; speed is le32; duplex and rss_max_key_size are bytes; rss_max_indirection_table_length is le16,
        // supported_hash_types le32.
        let wanted = match offset {
            0..=5 | 16 | 17 => Some(1),
            6 | 8 | 10 | 18 => Some(2),
            12 | 20 => Some(4),
            _ => None,
        };
        if !Self::check_width(slot, offset, width, wanted) || !self.is(VIRTIO_CONFIG_S_DRIVER) {
            slot.violation("the device configuration is read in a wrong way or too early", format_args!("offset {offset:#x}"), width.into(), "3.1.1");
        }
        if offset == 3 && self.faults.mac_changes > 0 {
            self.faults.mac_changes -= 1;
            self.mac = self.mac.map(|byte| byte ^ 0x10);
            self.generation = self.generation.wrapping_add(1);
        }
        let mut bytes = [0; NET_CONFIG_BYTES as usize + 3];
        bytes[..6].copy_from_slice(&self.mac);
        bytes[6] = if self.link_up { VIRTIO_NET_S_LINK_UP as u8 } else { 0 } | if self.ctrl.announces { VIRTIO_NET_S_ANNOUNCE as u8 } else { 0 };
        bytes[8..10].copy_from_slice(&self.faults.max_pairs.unwrap_or(self.options.pairs as u16).to_le_bytes());
        bytes[10..12].copy_from_slice(&self.options.mtu.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.speed.0.to_le_bytes());
        bytes[16] = self.speed.1;
        bytes[17] = self.faults.rss_key_size.unwrap_or(KEY_BYTES as u8);
        bytes[18..20].copy_from_slice(&self.faults.rss_table.unwrap_or(RSS_TABLE).to_le_bytes());
        bytes[20..24].copy_from_slice(&hash::ALL.to_le_bytes());
        for &(at, byte) in &self.faults.config_bytes {
            if let Some(place) = bytes.get_mut(usize::from(at)) {
                *place = byte;
            }
        }
        bytes.iter().skip(offset as usize).take(width.into()).rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    /// What a notification of a queue names it by (4.1.5.2), and the queue that it names by that: its number or, with VIRTIO_F_NOTIF_CONFIG_DATA, another of the card's own.
    fn notify_value(&self, queue: u16) -> u16 {
        if self.has(VIRTIO_F_NOTIF_CONFIG_DATA) { queue ^ 0xbeff } else { queue }
    }

    /// 4.1.5.2: 16 bits that name the queue, at the queue's address; with VIRTIO_F_NOTIFICATION_DATA 32 bits, of which the upper ones say how far the queue is.
    fn notify(&mut self, slot: &Slot<'_>, offset: u32, width: u8, value: u64) {
        let tells_next = self.has(VIRTIO_F_NOTIFICATION_DATA);
        let queue = self.notify_value(value as u16).into();
        let place = self.place_of(queue);
        let is_at = place.is_some() && offset == queue as u32 * self.options.notify_off_multiplier;
        let right = is_at && width == if tells_next { 4 } else { 2 };
        if !right || !self.is(VIRTIO_CONFIG_S_DRIVER_OK) || self.reset_done_us.is_some() {
            slot.violation(
                "a notification of the wrong form or at the wrong time",
                format_args!("offset {offset:#x}, {width} bytes"),
                value,
                "4.1.5.2",
            );
            return;
        }
        self.take_notification(slot, queue, tells_next.then_some((value >> 16) as u16));
    }

    /// The queue that the driver calls `queue` is notified, and maybe told how far it is.
    pub(super) fn take_notification(&mut self, slot: &Slot<'_>, queue: usize, next: Option<u16>) {
        let (rules, place) = (self.rules(), self.place_of(queue));
        // One of a queue that was reset, which its driver sent before it knew, says nothing.
        let end = place.and_then(|place| self.queues.get_mut(place)).filter(|end| !end.was_reset);
        if let (Some(end), Some(count)) = (end, self.counters.notifications.get_mut(queue)) {
            if let Some(next) = next {
                end.tell(slot, rules, next);
            }
            end.notified = true;
            *count += 1;
        }
    }
}
