//! The modern PCI transport (4.1): its structures' registers.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use driver_core::device::{ErrorKind, Flaw};
use driver_core::host::{Bar, Clock, Iova, PciFunction, RegSpace};
use driver_core::reg::{Reg, Rw, wait_until};

use super::capabilities::Finder;
use super::contract::{Notify, NotifyAt, Transport, steady_by};
use super::selected::{Queues, Selected};
use super::structure::{SharedFunction, Structure, Way};
use crate::error::HardwareError;
use crate::regs::common::{self, CONFIG_GENERATION, DEVICE_STATUS};
use crate::regs::{Features, Status, notify, pci};

/// How long a device may take for its reset, in microseconds. The specification sets no limit; a device with I/O in flight may need a while.
const RESET_LIMIT_US: u64 = 2_000_000;
/// Each bit both ways, as addresses of rings: multiples of the 16 bytes that a descriptor table wants (2.7).
const ADDRESSES: [u64; 4] = [0x5555_5555_5555_5550, 0xaaaa_aaaa_aaaa_aaa0, 0xffff_ffff_ffff_fff0, 0];

/// All structures of a device.
pub(crate) struct Modern<F: PciFunction> {
    name: String,
    clock: Arc<dyn Clock>,
    common: Structure<F>,
    notify: Structure<F>,
    notify_off_multiplier: u32,
    device: Structure<F>,
    selected: Selected,
}

impl<F: PciFunction> Clone for Modern<F> {
    fn clone(&self) -> Self {
        let Self { name, clock, common, notify, notify_off_multiplier, device, selected } = self;
        let (common, notify, device) = (common.clone(), notify.clone(), device.clone());
        let (name, clock, selected) = (name.clone(), clock.clone(), selected.clone());
        Self { name, clock, common, notify, notify_off_multiplier: *notify_off_multiplier, device, selected }
    }
}

impl<F: PciFunction> Modern<F> {
    /// Finds the structures and opens their BARs.
    pub(crate) fn find(function: F, clock: Arc<dyn Clock>) -> Result<(Self, SharedFunction<F>), ErrorKind> {
        let name = String::from(function.name());
        let function = Arc::new(spin::Mutex::new(function));
        let mut finder = Finder::new(&name, &function)?;
        let (common, _) = finder.structure(pci::CFG_COMMON, "common configuration", common::LEN_BYTES)?;
        let (notify, notify_cap) = finder.structure(pci::CFG_NOTIFY, "notification", 2)?;
        let (device, _) = finder.structure(pci::CFG_DEVICE, "device configuration", 1)?;
        let notify_off_multiplier = function.lock().config_read(notify_cap + pci::CAP_NOTIFY_OFF_MULTIPLIER, 4)?;
        Ok((Self { name, clock, common, notify, notify_off_multiplier, device, selected: Selected::default() }, function))
    }

    /// The queue stays selected as long as what is returned is held.
    fn select(&self, queue: u16) -> spin::MutexGuard<'_, Queues> {
        let queues = self.selected.lock();
        common::QUEUE_SELECT.write(&self.common, queue);
        queues
    }

    /// What notifications name the queue that is selected by (4.1.5.2).
    fn notify_name(&self, queue: u16, features: Features) -> Result<u16, ErrorKind> {
        if !features.contains(Features::NOTIF_CONFIG_DATA) {
            return Ok(queue);
        }
        let (len_bytes, needed_bytes) = (self.common.len_bytes, common::QUEUE_NOTIF_CONFIG_DATA.end());
        if len_bytes < needed_bytes {
            return Err(HardwareError::Structure { structure: "common configuration", len_bytes, needed_bytes }.into());
        }
        Ok(common::QUEUE_NOTIF_CONFIG_DATA.read(&self.common))
    }
}

impl<F: PciFunction> Transport<F> for Modern<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn another(&self) -> Box<dyn Transport<F>> {
        Box::new(self.clone())
    }

    fn status(&self) -> Status {
        DEVICE_STATUS.read(&self.common)
    }

    fn add_status(&self, bits: Status) {
        DEVICE_STATUS.modify(&self.common, |status| status | bits);
        if bits.contains(Status::DRIVER_OK) {
            self.selected.lock().go_live();
        }
    }

    /// 4.1.4.3.2: "After writing 0 to device_status, the driver MUST wait for a read of device_status to return 0 before reinitializing the device."
    fn reset(&self) -> Result<(), ErrorKind> {
        let mut queues = self.selected.lock();
        queues.forget();
        DEVICE_STATUS.write(&self.common, Status::empty());
        drop(queues);
        wait_until(&self.common, DEVICE_STATUS, "the reset", &*self.clock, RESET_LIMIT_US, |status| status.is_empty())?;
        Ok(())
    }

    fn offered(&self) -> Features {
        let half = |select| {
            common::DEVICE_FEATURE_SELECT.write(&self.common, select);
            u64::from(common::DEVICE_FEATURE.read(&self.common))
        };
        Features::from_bits_retain(half(0) | half(1) << 32)
    }

    /// Structures that end before queue_reset.
    fn lacks(&self) -> Features {
        if self.common.len_bytes < common::QUEUE_RESET.end() { Features::RING_RESET } else { Features::empty() }
    }

    fn accept(&self, features: Features) {
        for (select, half) in [(0, features.bits() as u32), (1, (features.bits() >> 32) as u32)] {
            common::DRIVER_FEATURE_SELECT.write(&self.common, select);
            common::DRIVER_FEATURE.write(&self.common, half);
        }
    }

    fn device_config(&self) -> &dyn RegSpace {
        &self.device
    }

    fn steady(&self, look: &mut dyn FnMut()) -> Result<(), ErrorKind> {
        steady_by(CONFIG_GENERATION, &self.common, &*self.clock, look)
    }

    /// "After mapping an event to vector, the driver MUST verify success by reading the Vector field value" (4.1.5.1.2).
    fn set_config_vector(&self, vector: Option<u16>) -> bool {
        let vector = vector.unwrap_or(common::NO_VECTOR);
        common::CONFIG_MSIX_VECTOR.write(&self.common, vector);
        vector == common::NO_VECTOR || common::CONFIG_MSIX_VECTOR.read(&self.common) == vector
    }

    fn queue_size(&self, queue: u16) -> u16 {
        let _selected = self.select(queue);
        common::QUEUE_SIZE.read(&self.common)
    }

    fn place_queue(&self, queue: u16, size: u16, [desc, driver, device]: [Iova; 3]) {
        let _selected = self.select(queue);
        common::QUEUE_SIZE.write(&self.common, size);
        common::QUEUE_DESC.write(&self.common, desc.0);
        common::QUEUE_DRIVER.write(&self.common, driver.0);
        common::QUEUE_DEVICE.write(&self.common, device.0);
    }

    fn set_queue_vector(&self, queue: u16, vector: Option<u16>) -> bool {
        let _selected = self.select(queue);
        let vector = vector.unwrap_or(common::NO_VECTOR);
        common::QUEUE_MSIX_VECTOR.write(&self.common, vector);
        common::QUEUE_MSIX_VECTOR.read(&self.common) == vector
    }

    /// 4.1.5.1.3.
    fn enable_queue(&self, queue: u16) {
        let mut queues = self.select(queue);
        common::QUEUE_ENABLE.write(&self.common, 1);
        queues.enabled(queue);
    }

    fn selected(&self) -> &Selected {
        &self.selected
    }

    fn ask_for_queue_reset(&self, queue: u16) -> Result<(), ErrorKind> {
        self.selected.reset_queue(queue, common::QUEUE_RESET, &*self.clock, |begins| {
            common::QUEUE_SELECT.write(&self.common, queue);
            if begins {
                common::QUEUE_RESET.write(&self.common, 1);
            }
            common::QUEUE_RESET.read(&self.common)
        })
    }

    fn is_enabled(&self, queue: u16) -> bool {
        let _selected = self.select(queue);
        common::QUEUE_ENABLE.read(&self.common) != 0
    }

    /// 4.1.4.4: `cap.offset + queue_notify_off * notify_off_multiplier`.
    fn notify(&self, queue: u16, features: Features) -> Result<Notify<F>, ErrorKind> {
        let _selected = self.select(queue);
        let name = self.notify_name(queue, features)?;
        let tells_next = features.contains(Features::NOTIFICATION_DATA);
        let len_bytes = if tells_next { notify::QUEUE_NOTIFY_NEXT.end() } else { notify::QUEUE_NOTIFY.end() };
        let steps = u32::from(common::QUEUE_NOTIFY_OFF.read(&self.common));
        let small = |needed_bytes| HardwareError::Structure { structure: "notification", len_bytes: self.notify.len_bytes, needed_bytes };
        // 4.1.4.4.1: "the value cap.length presented by the device MUST satisfy cap.length >= queue_notify_off * notify_off_multiplier + 2", or 4.
        let offset = steps.checked_mul(self.notify_off_multiplier).ok_or_else(|| small(u32::MAX))?;
        let end = offset.checked_add(len_bytes).ok_or_else(|| small(u32::MAX))?;
        if end > self.notify.len_bytes {
            return Err(small(end).into());
        }
        let at = Structure { offset: self.notify.offset.wrapping_add(offset), len_bytes, way: self.notify.way.clone() };
        if tells_next && !at.offset.is_multiple_of(len_bytes) {
            return Err(HardwareError::NotifyAddress { queue, offset: at.offset }.into());
        }
        let at = match &at.way {
            Way::Bar(bar) => bar.doorbell(at.offset).map_or(NotifyAt::Register(at), NotifyAt::Doorbell),
            Way::Window { .. } => NotifyAt::Register(at),
        };
        Ok(if tells_next { Notify::WithNext(at, name) } else { Notify::Plain(at, name) })
    }

    /// What the driver writes is kept (4.1.4.3).
    fn test_registers(&self, features: Features, queues: &[u16]) -> Result<String, Flaw> {
        let common = &self.common;
        for value in [1, 0] {
            keeps(common, common::DEVICE_FEATURE_SELECT, value)?;
            keeps(common, common::DRIVER_FEATURE_SELECT, value)?;
        }
        // Queues are set up behind FEATURES_OK (3.1.1).
        self.accept(features);
        self.add_status(Status::FEATURES_OK);
        for &queue in queues {
            let _selected = self.select(queue);
            let read = common::QUEUE_SELECT.read(common);
            if read != queue {
                return Err(differs(common::QUEUE_SELECT.name(), common::QUEUE_SELECT.offset(), queue.into(), read.into()));
            }
            for address in [common::QUEUE_DESC, common::QUEUE_DRIVER, common::QUEUE_DEVICE] {
                ADDRESSES.into_iter().try_for_each(|value| keeps_wide(common, address, value))?;
            }
        }
        Ok(format!("3 fields of two queues keep {} patterns", ADDRESSES.len()))
    }
}

fn differs(name: &'static str, offset: u32, wrote: u32, read: u32) -> Flaw {
    Flaw::Register { name: name.into(), offset, wrote, read, mask: u32::MAX }
}

fn keeps(space: &impl RegSpace, register: Reg<u32, Rw>, value: u32) -> Result<(), Flaw> {
    register.write(space, value);
    let read = register.read(space);
    if read == value { Ok(()) } else { Err(differs(register.name(), register.offset(), value, read)) }
}

/// A field of 64 bits: what differs is told of the half in which it does.
fn keeps_wide(space: &impl RegSpace, register: Reg<u64, Rw>, value: u64) -> Result<(), Flaw> {
    register.write(space, value);
    let read = register.read(space);
    let half = u32::from(read as u32 == value as u32);
    if read == value {
        return Ok(());
    }
    Err(differs(register.name(), register.offset() + 4 * half, (value >> (32 * half)) as u32, (read >> (32 * half)) as u32))
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use sim::virtio_net::{VirtioNet as Model, VirtioNetOptions as Options};
    use sim::wire::peer;
    use sim::{Iommu, SimClock, SimDevice, SimFunction};

    use super::super::structure::Way;
    use super::*;

    /// The transport of a device that is reached through its BAR, and of one that is reached through the window.
    fn both_ways() -> [(SimDevice, Modern<SimFunction>); 2] {
        [true, false].map(|has_bar| {
            let model = Model::new(Options::new().has_bar(has_bar));
            let device = SimDevice::new("test", Box::new(model), Box::new(peer::pair(1).0), Iommu::new());
            let mut function = device.function();
            function.enable_registers().unwrap();
            let (transport, _) = Modern::find(function, Arc::new(SimClock::new([device.clone()]))).unwrap();
            assert_eq!(matches!(transport.common.way, Way::Bar(_)), has_bar);
            (device, transport)
        })
    }

    #[test]
    fn registers_of_every_width_are_the_same_either_way() {
        for (device, transport) in both_ways() {
            let common = &transport.common;
            transport.add_status(Status::ACKNOWLEDGE);
            transport.add_status(Status::DRIVER);
            transport.accept(transport.offered() & Features::USED);
            transport.add_status(Status::FEATURES_OK);
            common::QUEUE_SELECT.write(common, 1);
            common::QUEUE_DESC.write(common, 0x1_2345_6000);
            assert_eq!((transport.status(), common::QUEUE_SELECT.read(common)), (Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK, 1));
            assert_eq!((common::NUM_QUEUES.read(common), common::QUEUE_DESC.read(common)), (3, 0x1_2345_6000));
            // SAFETY: the model is asked for its address, and nothing else.
            #[allow(unsafe_code, reason = "a model can be made to reach any memory")]
            let mac = unsafe { device.with_model(|model: &mut Model| model.mac()) }.unwrap();
            assert_eq!(net_mac(&transport), mac);
            assert!(device.violations().is_empty(), "{:?}", device.violations());
        }
    }

    fn net_mac(transport: &Modern<SimFunction>) -> [u8; 6] {
        let mut bytes = crate::regs::net::MAC.iter().map(|register| register.read(&transport.device));
        std::array::from_fn(|_| bytes.next().unwrap())
    }

    #[test]
    fn what_lies_outside_of_a_structure_reads_all_ones_and_takes_nothing() {
        for (device, transport) in both_ways() {
            let common = &transport.common;
            let len = common.len_bytes;
            assert_eq!(common.len_bytes(), len as usize);
            for offset in [len, len + 4, u32::MAX - 3] {
                assert_eq!((common.read32(offset), common.read16(offset), common.read8(offset)), (u32::MAX, u16::MAX, u8::MAX), "{offset:#x}");
                common.write32(offset, 0);
            }
            // Inside, and not aligned.
            assert_eq!((common.read16(0x13), common.read32(0x12)), (u16::MAX, u32::MAX));
            common.write32(0x12, 0);
            assert!(device.violations().is_empty(), "the device saw none of it: {:?}", device.violations());
        }
    }
}
