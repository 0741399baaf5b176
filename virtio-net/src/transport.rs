//! The modern PCI transport: where the device's structures lie (4.1.4), and access to their registers.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::ops::ControlFlow;

use driver_core::device::ErrorKind;
use driver_core::host::{Bar, Clock, Doorbell, PciError, PciErrorKind, PciFunction, RegSpace};
use driver_core::reg::{Pace, look_until, wait_until};

use crate::error::HardwareError;
use crate::regs::common::{self, CONFIG_GENERATION, DEVICE_STATUS};
use crate::regs::{Features, Status, notify, pci};

/// How long a device may take for its reset, in microseconds. The specification sets no limit; a device with I/O in flight may need a while.
const RESET_LIMIT_US: u64 = 2_000_000;
/// For how long a device configuration that changes at every look is looked at again, in microseconds: enough for any number of changes that a person makes.
const CONFIG_LIMIT_US: u64 = 50_000;
/// BARs of a function.
const BARS: usize = 6;

/// The function, shared where the PCI access window is used.
pub(crate) type SharedFunction<F> = Arc<spin::Mutex<F>>;

/// How one structure is reached.
enum Way<F: PciFunction> {
    /// Through its BAR.
    Bar(F::Bar),
    /// Through the PCI access window, a capability at `cap` in configuration space (4.1.4.9): slow, and works where the BAR cannot be mapped.
    Window { function: SharedFunction<F>, cap: u16, bar: u8 },
}

impl<F: PciFunction> Clone for Way<F> {
    fn clone(&self) -> Self {
        match self {
            Self::Bar(bar) => Self::Bar(bar.clone()),
            Self::Window { function, cap, bar } => Self::Window { function: function.clone(), cap: *cap, bar: *bar },
        }
    }
}

/// One of the device's structures.
pub(crate) struct Structure<F: PciFunction> {
    way: Way<F>,
    /// Where it starts in its BAR.
    offset: u32,
    len_bytes: u32,
}

impl<F: PciFunction> Clone for Structure<F> {
    fn clone(&self) -> Self {
        Self { way: self.way.clone(), ..*self }
    }
}

impl<F: PciFunction> Structure<F> {
    /// Where `width` bytes at `offset` of the structure lie in its BAR. `None` where they are not inside of it, or not naturally aligned.
    fn at(&self, offset: u32, width: u8) -> Option<u32> {
        let end = offset.checked_add(width.into())?;
        let at = self.offset.checked_add(offset)?;
        (end <= self.len_bytes && at.is_multiple_of(width.into())).then_some(at)
    }

    /// Reads through `bar`, or in the window `width` bytes.
    fn read(&self, offset: u32, width: u8, bar: impl FnOnce(&F::Bar, u32) -> u32) -> u32 {
        let Some(at) = self.at(offset, width) else { return u32::MAX };
        match &self.way {
            Way::Bar(through) => bar(through, at),
            Way::Window { function, cap, bar } => {
                let mut function = function.lock();
                let read = aim(&mut *function, *cap, *bar, at, width).and_then(|()| function.config_read(cap + pci::CAP_PCI_CFG_DATA, width));
                // As a master abort reads: the callers' checks take all ones for a device that is gone.
                read.unwrap_or_else(|error| {
                    log::error!("{error}");
                    u32::MAX
                })
            }
        }
    }

    /// Writes through `bar`, or in the window `width` bytes.
    fn write(&self, offset: u32, width: u8, value: u32, bar: impl FnOnce(&F::Bar, u32)) {
        let Some(at) = self.at(offset, width) else { return };
        match &self.way {
            Way::Bar(through) => bar(through, at),
            Way::Window { function, cap, bar } => {
                let mut function = function.lock();
                let written =
                    aim(&mut *function, *cap, *bar, at, width).and_then(|()| config_write(&mut *function, cap + pci::CAP_PCI_CFG_DATA, width, value));
                if let Err(error) = written {
                    log::error!("{error}");
                }
            }
        }
    }
}

/// 64-bit fields go by the default's two accesses. 4.1.3.1: "For 64-bit fields, the driver MAY access each of the high and low 32-bit parts of the field
/// independently."
impl<F: PciFunction> RegSpace for Structure<F> {
    fn len_bytes(&self) -> usize {
        self.len_bytes as usize
    }
    fn read8(&self, offset: u32) -> u8 {
        self.read(offset, 1, |bar, at| bar.read8(at).into()) as u8
    }
    fn read16(&self, offset: u32) -> u16 {
        self.read(offset, 2, |bar, at| bar.read16(at).into()) as u16
    }
    fn read32(&self, offset: u32) -> u32 {
        self.read(offset, 4, F::Bar::read32)
    }
    fn write8(&self, offset: u32, value: u8) {
        self.write(offset, 1, value.into(), |bar, at| bar.write8(at, value));
    }
    fn write16(&self, offset: u32, value: u16) {
        self.write(offset, 2, value.into(), |bar, at| bar.write16(at, value));
    }
    fn write32(&self, offset: u32, value: u32) {
        self.write(offset, 4, value, |bar, at| bar.write32(at, value));
    }
}

/// Points the PCI access window at `width` bytes at `offset` of a BAR.
fn aim<F: PciFunction>(function: &mut F, cap: u16, bar: u8, offset: u32, width: u8) -> Result<(), PciError> {
    config_write(function, cap + pci::CAP_BAR, 1, bar.into())?;
    config_write(function, cap + pci::CAP_OFFSET, 4, offset)?;
    config_write(function, cap + pci::CAP_LENGTH, 4, width.into())
}

/// Writes to the PCI access window.
fn config_write<F: PciFunction>(function: &mut F, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
    // SAFETY: the window leads to the structures that this crate writes through BARs otherwise: see `Finder::bar`.
    #[allow(unsafe_code, reason = "whoever writes registers answers for what the device does to memory")]
    unsafe {
        function.config_write(offset, width, value)
    }
}

/// Where one queue is notified.
pub(crate) enum Notify<F: PciFunction> {
    /// One posted store.
    Doorbell(<F::Bar as Bar>::Doorbell),
    /// Where no doorbell can be had: an address that is not aligned to four bytes, or no mapped BAR.
    Register(Structure<F>),
}

impl<F: PciFunction> Notify<F> {
    /// 4.1.5.2: "the driver notifies the device by writing the 16-bit virtqueue index of this virtqueue to the Queue Notify address."
    #[inline(always)]
    pub(crate) fn ring(&self, queue: u16) {
        match self {
            Self::Doorbell(doorbell) => doorbell.ring16(queue),
            Self::Register(structure) => notify::QUEUE_NOTIFY.write(structure, queue),
        }
    }
}

/// All structures of a device.
pub(crate) struct Transport<F: PciFunction> {
    /// The function's name, for what is logged.
    pub(crate) name: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) common: Structure<F>,
    notify: Structure<F>,
    notify_off_multiplier: u32,
    pub(crate) device: Structure<F>,
}

/// What the capability list says of one structure.
#[derive(Debug, Clone, Copy)]
struct Capability {
    cfg_type: u8,
    at: u16,
    bar: u8,
    offset: u32,
    len_bytes: u32,
}

/// 4.1.4: every vendor-specific capability of a known type in a memory BAR. "The driver MUST ignore any vendor-specific capability structure which has
/// a reserved cfg_type value" or "which has a bar value not in the range 0x0 to 0x5".
fn capabilities<F: PciFunction>(function: &F) -> Result<Vec<Capability>, PciError> {
    let mut found = Vec::new();
    let mut last = None;
    // 48 capabilities of 4 bytes fill the space behind the header: a longer list is a circle.
    for _ in 0..48 {
        let Some(at) = function.find_capability(pci::CAP_VENDOR, last)? else { return Ok(found) };
        last = Some(at);
        let cfg_type = function.config_read(at + pci::CAP_CFG_TYPE, 1)? as u8;
        let bar = function.config_read(at + pci::CAP_BAR, 1)? as u8;
        let len = function.config_read(at + pci::CAP_LEN, 1)? as u16;
        if len < 16 || !matches!(cfg_type, pci::CFG_COMMON | pci::CFG_NOTIFY | pci::CFG_DEVICE | pci::CFG_PCI) || usize::from(bar) >= BARS {
            continue;
        }
        let offset = function.config_read(at + pci::CAP_OFFSET, 4)?;
        let len_bytes = function.config_read(at + pci::CAP_LENGTH, 4)?;
        found.push(Capability { cfg_type, at, bar, offset, len_bytes });
    }
    Err(PciError::new(function.name(), "walking the capability list", PciErrorKind::Config("the list runs in a circle")))
}

impl<F: PciFunction> Transport<F> {
    /// Finds the structures and opens their BARs.
    pub(crate) fn find(function: F, clock: Arc<dyn Clock>) -> Result<(Self, SharedFunction<F>), ErrorKind> {
        let name = String::from(function.name());
        let capabilities = capabilities(&function)?;
        let window = capabilities.iter().find(|cap| cap.cfg_type == pci::CFG_PCI).map(|cap| cap.at);
        let function = Arc::new(spin::Mutex::new(function));
        let mut finder = Finder { name: &name, function: &function, window, capabilities, bars: [const { None }; BARS] };
        let (common, _) = finder.structure(pci::CFG_COMMON, "common configuration", common::LEN_BYTES)?;
        let (notify, notify_cap) = finder.structure(pci::CFG_NOTIFY, "notification", 2)?;
        let (device, _) = finder.structure(pci::CFG_DEVICE, "device configuration", 1)?;
        let notify_off_multiplier = function.lock().config_read(notify_cap + pci::CAP_NOTIFY_OFF_MULTIPLIER, 4)?;
        Ok((Self { name, clock, common, notify, notify_off_multiplier, device }, function))
    }

    pub(crate) fn status(&self) -> Status {
        DEVICE_STATUS.read(&self.common)
    }

    /// Adds bits to the status. "The driver MUST NOT clear a device status bit" (2.1.1).
    pub(crate) fn add_status(&self, bits: Status) {
        DEVICE_STATUS.modify(&self.common, |status| status | bits);
    }

    /// 4.1.4.3.2: "After writing 0 to device_status, the driver MUST wait for a read of device_status to return 0 before reinitializing the device."
    /// When it returns, the device uses no memory any more (2.4.1).
    pub(crate) fn reset(&self) -> Result<(), ErrorKind> {
        DEVICE_STATUS.write(&self.common, Status::empty());
        wait_until(&self.common, DEVICE_STATUS, "the reset", &*self.clock, RESET_LIMIT_US, |status| status.is_empty())?;
        Ok(())
    }

    pub(crate) fn offered(&self) -> Features {
        let half = |select| {
            common::DEVICE_FEATURE_SELECT.write(&self.common, select);
            u64::from(common::DEVICE_FEATURE.read(&self.common))
        };
        Features::from_bits_retain(half(0) | half(1) << 32)
    }

    pub(crate) fn accept(&self, features: Features) {
        for (select, half) in [(0, features.bits() as u32), (1, (features.bits() >> 32) as u32)] {
            common::DRIVER_FEATURE_SELECT.write(&self.common, select);
            common::DRIVER_FEATURE.write(&self.common, half);
        }
    }

    /// 2.5.1: "Drivers MUST NOT assume reads from fields greater than 32 bits wide are atomic, nor are reads from multiple fields": what `read` reads
    /// is taken only where `config_generation` is the same before and after.
    pub(crate) fn config<T>(&self, read: impl Fn(&Structure<F>) -> T) -> Result<T, ErrorKind> {
        let pace = Pace::within(CONFIG_LIMIT_US);
        let look = || {
            let before = CONFIG_GENERATION.read(&self.common);
            let value = read(&self.device);
            let after = CONFIG_GENERATION.read(&self.common);
            Ok::<_, Infallible>(if after == before { ControlFlow::Break(value) } else { ControlFlow::Continue(after) })
        };
        let Ok(outcome) = look_until(CONFIG_GENERATION, "the device configuration to stay the same", &*self.clock, pace, look);
        outcome.map_err(|wait| HardwareError::ConfigUnstable { wait }.into())
    }

    /// The notification address of the selected queue (4.1.4.4): `cap.offset + queue_notify_off * notify_off_multiplier`.
    pub(crate) fn notify(&self) -> Result<Notify<F>, ErrorKind> {
        let steps = u32::from(common::QUEUE_NOTIFY_OFF.read(&self.common));
        let small = |needed_bytes| HardwareError::Structure { structure: "notification", len_bytes: self.notify.len_bytes, needed_bytes };
        // 4.1.4.4.1: "the value cap.length presented by the device MUST satisfy cap.length >= queue_notify_off * notify_off_multiplier + 2".
        let offset = steps.checked_mul(self.notify_off_multiplier).ok_or_else(|| small(u32::MAX))?;
        let end = offset.checked_add(notify::QUEUE_NOTIFY.end()).ok_or_else(|| small(u32::MAX))?;
        if end > self.notify.len_bytes {
            return Err(small(end).into());
        }
        let at = Structure { offset: self.notify.offset.wrapping_add(offset), len_bytes: 2, way: self.notify.way.clone() };
        if let Way::Bar(bar) = &at.way
            && let Ok(doorbell) = bar.doorbell(at.offset)
        {
            return Ok(Notify::Doorbell(doorbell));
        }
        Ok(Notify::Register(at))
    }

    /// Whether the device configuration has `needed_bytes`.
    pub(crate) fn check_device_len(&self, needed_bytes: u32) -> Result<(), ErrorKind> {
        if self.device.len_bytes < needed_bytes {
            let len_bytes = self.device.len_bytes;
            return Err(HardwareError::Structure { structure: "device configuration", len_bytes, needed_bytes }.into());
        }
        Ok(())
    }
}

/// Looks structures up.
struct Finder<'a, F: PciFunction> {
    name: &'a str,
    function: &'a SharedFunction<F>,
    window: Option<u16>,
    capabilities: Vec<Capability>,
    bars: [Option<F::Bar>; BARS],
}

impl<F: PciFunction> Finder<'_, F> {
    /// The structure of `cfg_type`, and where its capability lies. "The driver SHOULD use the first instance of each virtio structure type they can
    /// support" (4.1.4.1); the window is taken where no instance can be mapped.
    fn structure(&mut self, cfg_type: u8, structure: &'static str, needed_bytes: u32) -> Result<(Structure<F>, u16), ErrorKind> {
        let mut refused = None;
        let candidates: Vec<_> = self.capabilities.iter().copied().filter(|cap| cap.cfg_type == cfg_type).collect();
        for cap in &candidates {
            if cap.len_bytes < needed_bytes {
                refused = Some(HardwareError::Structure { structure, len_bytes: cap.len_bytes, needed_bytes }.into());
                continue;
            }
            match self.bar(cap.bar) {
                Ok(bar) => {
                    let end = u64::from(cap.offset) + u64::from(cap.len_bytes);
                    if end <= bar.len_bytes() as u64 {
                        return Ok((Structure { way: Way::Bar(bar), offset: cap.offset, len_bytes: cap.len_bytes }, cap.at));
                    }
                    let len_bytes = bar.len_bytes().saturating_sub(cap.offset as usize) as u32;
                    refused = Some(HardwareError::Structure { structure, len_bytes, needed_bytes: cap.len_bytes }.into());
                }
                Err(error) => refused = Some(error.into()),
            }
        }
        if let (Some(window), Some(cap)) = (self.window, candidates.iter().find(|cap| cap.len_bytes >= needed_bytes)) {
            log::warn!("{}: BAR {} cannot be mapped, so its {structure} is reached through the PCI access window, which is slow", self.name, cap.bar);
            let way = Way::Window { function: self.function.clone(), cap: window, bar: cap.bar };
            return Ok((Structure { way, offset: cap.offset, len_bytes: cap.len_bytes }, cap.at));
        }
        Err(refused.unwrap_or_else(|| HardwareError::NotModern { missing: structure }.into()))
    }

    fn bar(&mut self, index: u8) -> Result<F::Bar, PciError> {
        let place = self.bars.get_mut(usize::from(index));
        if let Some(Some(bar)) = &place {
            return Ok(bar.clone());
        }
        // SAFETY: the BAR stays within this crate, which writes no address of memory but those of queues, and queues hold what they lend until the device was
        // seen to stop (`SplitRx`, `SplitTx`, and silence.rs).
        #[allow(unsafe_code, reason = "whoever writes registers answers for what the device does to memory")]
        let bar = unsafe { self.function.lock().open_bar(index) }?;
        if let Some(place) = place {
            *place = Some(bar.clone());
        }
        Ok(bar)
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use sim::virtio_net::{VirtioNet as Model, VirtioNetOptions as Options};
    use sim::wire::peer;
    use sim::{Iommu, SimClock, SimDevice, SimFunction};

    use super::*;

    /// The transport of a device that is reached through its BAR, and of one that is reached through the window.
    fn both_ways() -> [(SimDevice, Transport<SimFunction>); 2] {
        [true, false].map(|has_bar| {
            let model = Model::new(Options::new().has_bar(has_bar));
            let device = SimDevice::new("test", Box::new(model), Box::new(peer::pair(1).0), Iommu::new());
            let mut function = device.function();
            function.enable_registers().unwrap();
            let (transport, _) = Transport::find(function, Arc::new(SimClock::new([device.clone()]))).unwrap();
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
            assert_eq!((common::NUM_QUEUES.read(common), common::QUEUE_DESC.read(common)), (2, 0x1_2345_6000));
            // SAFETY: the model is asked for its address, and nothing else.
            #[allow(unsafe_code, reason = "a model can be made to reach any memory")]
            let mac = unsafe { device.with_model(|model: &mut Model| model.mac()) }.unwrap();
            assert_eq!(net_mac(&transport), mac);
            assert!(device.violations().is_empty(), "{:?}", device.violations());
        }
    }

    fn net_mac(transport: &Transport<SimFunction>) -> [u8; 6] {
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
