//! The transport of memory mapped devices (4.2): one block of registers, one interrupt line.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use driver_core::device::{ErrorKind, Flaw};
use driver_core::host::{Bar, Clock, Interrupt, Iova, PciError, PciFunction, RegSpace, WaitWaker};
use driver_core::reg::wait_until;

use super::contract::{Notify, NotifyAt, Transport, steady_by};
use super::selected::{Queues, Selected};
use super::structure::{SharedFunction, Structure, Way};
use crate::error::HardwareError;
use crate::regs::{Features, Status, mmio};

/// How long a device may take for its reset, in microseconds.
const RESET_LIMIT_US: u64 = 2_000_000;

/// All registers of a device.
pub(crate) struct Mmio<F: PciFunction> {
    name: String,
    clock: Arc<dyn Clock>,
    control: Structure<F>,
    config: Structure<F>,
    selected: Selected,
}

impl<F: PciFunction> Clone for Mmio<F> {
    fn clone(&self) -> Self {
        let Self { name, clock, control, config, selected } = self;
        let (name, clock, selected) = (name.clone(), clock.clone(), selected.clone());
        Self { name, clock, control: control.clone(), config: config.clone(), selected }
    }
}

fn is(register: &'static str, read: u32, needed: u32) -> Result<(), ErrorKind> {
    if read == needed { Ok(()) } else { Err(HardwareError::Mmio { register, read, needed }.into()) }
}

impl<F: PciFunction> Mmio<F> {
    /// Opens the block. `None`: no device is there. 4.2.3.1.1: "The driver MUST start the device initialization by reading and checking values from MagicValue and
    /// Version", and where DeviceID is 0 "MUST NOT access any other register".
    pub(crate) fn find(mut function: F, clock: Arc<dyn Clock>) -> Result<Option<(Self, SharedFunction<F>)>, ErrorKind> {
        let name = String::from(function.name());
        // SAFETY: as of `Finder::bar`: it stays within this crate, which tells the device of no memory but queues, and they hold it until the device was seen to stop.
        #[allow(unsafe_code, reason = "whoever writes registers answers for what the device does to memory")]
        let bar = unsafe { function.open_bar(0) }?;
        let len_bytes = bar.len_bytes() as u32;
        if len_bytes < mmio::CONFIG {
            return Err(HardwareError::Structure { structure: "register", len_bytes, needed_bytes: mmio::CONFIG }.into());
        }
        let part = |offset, len_bytes| Structure { way: Way::Bar(bar.clone()), offset, len_bytes };
        let (control, config) = (part(0, mmio::CONFIG), part(mmio::CONFIG, len_bytes - mmio::CONFIG));
        is("MagicValue", mmio::MAGIC_VALUE.read(&control), mmio::MAGIC)?;
        is("Version", mmio::VERSION.read(&control), 2)?;
        match mmio::DEVICE_ID.read(&control) {
            0 => return Ok(None),
            id => is("DeviceID", id, mmio::NETWORK_CARD)?,
        }
        Ok(Some((Self { name, clock, control, config, selected: Selected::default() }, Arc::new(spin::Mutex::new(function)))))
    }

    /// The queue stays selected as long as what is returned is held.
    fn select(&self, queue: u16) -> spin::MutexGuard<'_, Queues> {
        let queues = self.selected.lock();
        mmio::QUEUE_SEL.write(&self.control, queue.into());
        queues
    }
}

impl<F: PciFunction> Transport<F> for Mmio<F> {
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
        Status::from_bits_retain(mmio::STATUS.read(&self.control) as u8)
    }

    fn add_status(&self, bits: Status) {
        mmio::STATUS.modify(&self.control, |status| status | u32::from(bits.bits()));
        if bits.contains(Status::DRIVER_OK) {
            self.selected.lock().go_live();
        }
    }

    fn reset(&self) -> Result<(), ErrorKind> {
        let mut queues = self.selected.lock();
        queues.forget();
        mmio::STATUS.write(&self.control, 0);
        drop(queues);
        wait_until(&self.control, mmio::STATUS, "the reset", &*self.clock, RESET_LIMIT_US, |status| status == 0)?;
        Ok(())
    }

    /// "Before reading from DeviceFeatures, the driver MUST write a value to DeviceFeaturesSel" (4.2.2.2).
    fn offered(&self) -> Features {
        let half = |select| {
            mmio::DEVICE_FEATURES_SEL.write(&self.control, select);
            u64::from(mmio::DEVICE_FEATURES.read(&self.control))
        };
        Features::from_bits_retain(half(0) | half(1) << 32)
    }

    /// Queues have no register that says what else notifications name them by.
    fn lacks(&self) -> Features {
        Features::NOTIF_CONFIG_DATA
    }

    fn accept(&self, features: Features) {
        for (select, half) in [(0, features.bits() as u32), (1, (features.bits() >> 32) as u32)] {
            mmio::DRIVER_FEATURES_SEL.write(&self.control, select);
            mmio::DRIVER_FEATURES.write(&self.control, half);
        }
    }

    fn device_config(&self) -> &dyn RegSpace {
        &self.config
    }

    fn steady(&self, look: &mut dyn FnMut()) -> Result<(), ErrorKind> {
        steady_by(mmio::CONFIG_GENERATION, &self.control, &*self.clock, look)
    }

    fn interrupt(&self, vector: F::Interrupt) -> Box<dyn Interrupt> {
        Box::new(Line { interrupt: vector, control: self.control.clone() })
    }

    /// The line tells of everything.
    fn set_config_vector(&self, _: Option<u16>) -> bool {
        true
    }

    fn queue_size(&self, queue: u16) -> u16 {
        let _selected = self.select(queue);
        u16::try_from(mmio::QUEUE_SIZE_MAX.read(&self.control)).unwrap_or(u16::MAX)
    }

    fn place_queue(&self, queue: u16, size: u16, [desc, driver, device]: [Iova; 3]) {
        let _selected = self.select(queue);
        mmio::QUEUE_SIZE.write(&self.control, size.into());
        for ([low, high], at) in [(mmio::QUEUE_DESC, desc), (mmio::QUEUE_DRIVER, driver), (mmio::QUEUE_DEVICE, device)] {
            low.write(&self.control, at.0 as u32);
            high.write(&self.control, (at.0 >> 32) as u32);
        }
    }

    fn set_queue_vector(&self, _: u16, _: Option<u16>) -> bool {
        true
    }

    fn enable_queue(&self, queue: u16) {
        let mut queues = self.select(queue);
        mmio::QUEUE_READY.write(&self.control, 1);
        queues.enabled(queue);
    }

    fn selected(&self) -> &Selected {
        &self.selected
    }

    fn ask_for_queue_reset(&self, queue: u16) -> Result<(), ErrorKind> {
        self.selected.reset_queue(queue, mmio::QUEUE_RESET, &*self.clock, |begins| {
            mmio::QUEUE_SEL.write(&self.control, queue.into());
            if begins {
                mmio::QUEUE_RESET.write(&self.control, 1);
            }
            mmio::QUEUE_RESET.read(&self.control)
        })
    }

    fn is_enabled(&self, queue: u16) -> bool {
        let _selected = self.select(queue);
        mmio::QUEUE_READY.read(&self.control) != 0
    }

    fn notify(&self, queue: u16, features: Features) -> Result<Notify<F>, ErrorKind> {
        let register = mmio::QUEUE_NOTIFY;
        let at = Structure { offset: register.offset(), len_bytes: register.len_bytes(), way: self.control.way.clone() };
        let at = match &at.way {
            Way::Bar(bar) => bar.doorbell(at.offset).map_or(NotifyAt::Register(at), NotifyAt::Doorbell),
            Way::Window { .. } => NotifyAt::Register(at),
        };
        Ok(if features.contains(Features::NOTIFICATION_DATA) { Notify::WithNext(at, queue) } else { Notify::Wide(at, queue) })
    }

    /// Of what the driver writes, Status and QueueReady alone can be read again (4.2.2).
    fn test_registers(&self, features: Features, queues: &[u16]) -> Result<String, Flaw> {
        let differs = |name: &'static str, offset, wrote, read| Flaw::Register { name: name.into(), offset, wrote, read, mask: u32::MAX };
        self.accept(features);
        self.add_status(Status::FEATURES_OK);
        let (wrote, read) = ((Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK).bits().into(), mmio::STATUS.read(&self.control));
        if read != wrote {
            return Err(differs(mmio::STATUS.name(), mmio::STATUS.offset(), wrote, read));
        }
        for &queue in queues {
            let _selected = self.select(queue);
            let read = mmio::QUEUE_READY.read(&self.control);
            if read != 0 {
                return Err(differs(mmio::QUEUE_READY.name(), mmio::QUEUE_READY.offset(), 0, read));
            }
        }
        Ok("Status keeps its bits, and no queue is ready behind the reset".into())
    }
}

/// The device's interrupt line, which stays up until the device is told that its events are handled (4.2.3.4.1).
struct Line<F: PciFunction> {
    interrupt: F::Interrupt,
    control: Structure<F>,
}

impl<F: PciFunction> Interrupt for Line<F> {
    /// What it tells of is taken before the queues are looked at: an event that comes meanwhile raises the line again.
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        let fired = self.interrupt.wait(timeout_us)?;
        if fired > 0 {
            let events = mmio::INTERRUPT_STATUS.read(&self.control) & mmio::EVENTS;
            if events != 0 {
                mmio::INTERRUPT_ACK.write(&self.control, events);
            }
        }
        Ok(fired)
    }

    fn waker(&mut self) -> Result<Option<Arc<dyn WaitWaker>>, PciError> {
        self.interrupt.waker()
    }
}
