//! Where the structures of a modern PCI device lie: its vendor-specific capabilities (4.1.4).

use alloc::vec::Vec;

use driver_core::device::ErrorKind;
use driver_core::host::{PciError, PciErrorKind, PciFunction, RegSpace};

use super::structure::{SharedFunction, Structure, Way};
use crate::error::HardwareError;
use crate::regs::pci;

/// BARs of a function.
const BARS: usize = 6;

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

/// Looks structures up.
pub(super) struct Finder<'a, F: PciFunction> {
    name: &'a str,
    function: &'a SharedFunction<F>,
    window: Option<u16>,
    capabilities: Vec<Capability>,
    bars: [Option<F::Bar>; BARS],
}

impl<'a, F: PciFunction> Finder<'a, F> {
    pub(super) fn new(name: &'a str, function: &'a SharedFunction<F>) -> Result<Self, PciError> {
        let capabilities = capabilities(&*function.lock())?;
        let window = capabilities.iter().find(|cap| cap.cfg_type == pci::CFG_PCI).map(|cap| cap.at);
        Ok(Self { name, function, window, capabilities, bars: [const { None }; BARS] })
    }

    /// The structure of `cfg_type`, and where its capability lies. "The driver SHOULD use the first instance of each virtio structure type they can
    /// support" (4.1.4.1); the window is taken where no instance can be mapped.
    pub(super) fn structure(&mut self, cfg_type: u8, structure: &'static str, needed_bytes: u32) -> Result<(Structure<F>, u16), ErrorKind> {
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
