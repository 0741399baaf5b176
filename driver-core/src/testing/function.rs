//! A PCI function without hardware: a BAR, bytes of configuration space, and interrupt vectors that the test fires.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::host::dma::DmaDomain;
use crate::host::pci::{Interrupt, PciError, PciErrorKind, PciFunction};
use crate::host::vectors::Vectors;
use crate::testing::bar::PlainBar;

/// The Command register (PCI Local Bus Specification 3.0, 6.2.2), and its bit for Bus Master Enable.
const COMMAND: usize = 0x04;
const COMMAND_MASTER: u8 = 1 << 2;
/// The conventional configuration space.
const CONFIG_BYTES: usize = 256;

/// What a driver has a function do, beside registers and configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FunctionAct {
    /// [`PciFunction::allow_dma`]
    AllowDma,
    /// [`PciFunction::forbid_dma`]
    ForbidDma,
    /// [`PciFunction::reset`]
    Reset,
}

type OnAct = Box<dyn FnMut(FunctionAct) -> Result<(), PciErrorKind> + Send>;

/// A PCI function whose one BAR is a [`PlainBar`]. Made for one test, it is whatever card the test says.
///
/// ```
/// use driver_core::host::{Interrupt, PciFunction};
/// use driver_core::testing::{FakeFunction, PlainBar, domain};
///
/// let mut function = FakeFunction::new("a test's", domain().0, PlainBar::new(0x1000)).with_id(0x8086, 0x1563).with_vectors(2);
/// assert_eq!(function.id().unwrap().to_string(), "8086:1563");
/// let mut vectors = function.enable_interrupts(2).unwrap();
/// function.trigger(1).fire();
/// assert_eq!(vectors.take(0).unwrap().wait(Some(0)), Ok(0));
/// assert_eq!(vectors.take(1).unwrap().wait(Some(0)), Ok(1));
/// ```
pub struct FakeFunction {
    name: String,
    domain: DmaDomain,
    bar: PlainBar,
    config: Vec<u8>,
    lines: Vec<Trigger>,
    on_act: Option<OnAct>,
}

impl FakeFunction {
    /// A function with `bar` as each of its BARs, configuration space of zeros, and no interrupts.
    pub fn new(name: &str, domain: DmaDomain, bar: PlainBar) -> Self {
        Self { name: name.into(), domain, bar, config: vec![0; CONFIG_BYTES], lines: Vec::new(), on_act: None }
    }

    /// With this vendor and device ID (configuration offsets 0x00 and 0x02).
    pub fn with_id(self, vendor: u16, device: u16) -> Self {
        let [[a, b], [c, d]] = [vendor, device].map(u16::to_le_bytes);
        self.with_config(0, &[a, b, c, d])
    }

    /// With these bytes of configuration space from `offset` on. What does not fit into its 256 bytes is left out.
    pub fn with_config(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.config.iter_mut().skip(offset).zip(bytes).for_each(|(to, from)| *to = *from);
        self
    }

    /// With so many interrupt vectors.
    pub fn with_vectors(mut self, count: u16) -> Self {
        self.lines.resize_with(count.into(), Trigger::default);
        self
    }

    /// Calls `act` whenever the driver has the function do something, which fails where `act` does.
    pub fn on_act(mut self, act: impl FnMut(FunctionAct) -> Result<(), PciErrorKind> + Send + 'static) -> Self {
        self.on_act = Some(Box::new(act));
        self
    }

    /// What fires vector `vector`.
    ///
    /// # Panics
    /// Where the function has no such vector.
    pub fn trigger(&self, vector: u16) -> Trigger {
        self.lines[usize::from(vector)].clone()
    }

    /// Whether it may do DMA now (Command, Bus Master Enable).
    pub fn is_bus_master(&self) -> bool {
        self.config[COMMAND] & COMMAND_MASTER != 0
    }

    fn act(&mut self, act: FunctionAct, tried: &str) -> Result<(), PciError> {
        let done = self.on_act.as_mut().map_or(Ok(()), |on_act| on_act(act));
        done.map_err(|kind| PciError::new(&self.name, tried, kind))
    }

    fn config_range(&self, offset: u16, width: u8, tried: &str) -> Result<core::ops::Range<usize>, PciError> {
        let range = usize::from(offset)..usize::from(offset) + usize::from(width);
        if range.end > self.config.len() || !matches!(width, 1 | 2 | 4) {
            return Err(PciError::new(&self.name, tried, PciErrorKind::Argument("configuration space has 256 bytes, read by 1, 2 or 4")));
        }
        Ok(range)
    }
}

// SAFETY: there is no hardware. The registers are the test's own memory, reached by nobody else, and lead to no other; what plays the device's part in memory
// answers for itself (`HeapMapper::write`).
unsafe impl PciFunction for FakeFunction {
    type Bar = PlainBar;
    type Interrupt = FakeInterrupt;

    fn name(&self) -> &str {
        &self.name
    }
    fn config_read(&self, offset: u16, width: u8) -> Result<u32, PciError> {
        let range = self.config_range(offset, width, "reading configuration space")?;
        Ok(self.config[range].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }
    unsafe fn config_write(&mut self, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
        let range = self.config_range(offset, width, "writing configuration space")?;
        self.config[range].copy_from_slice(&value.to_le_bytes()[..width.into()]);
        Ok(())
    }
    unsafe fn open_bar(&mut self, index: u8) -> Result<PlainBar, PciError> {
        match index {
            0..=5 => Ok(self.bar.clone()),
            _ => Err(PciError::new(&self.name, "opening a BAR", PciErrorKind::Argument("BARs are 0 to 5"))),
        }
    }
    fn dma(&self) -> &DmaDomain {
        &self.domain
    }
    unsafe fn allow_dma(&mut self) -> Result<(), PciError> {
        self.act(FunctionAct::AllowDma, "allowing DMA")?;
        self.config[COMMAND] |= COMMAND_MASTER;
        Ok(())
    }
    fn forbid_dma(&mut self) -> Result<(), PciError> {
        self.act(FunctionAct::ForbidDma, "forbidding DMA")?;
        self.config[COMMAND] &= !COMMAND_MASTER;
        Ok(())
    }
    fn interrupt_count(&self) -> u16 {
        self.lines.len() as u16
    }
    fn enable_interrupts(&mut self, count: u16) -> Result<Vectors<FakeInterrupt>, PciError> {
        match self.lines.get(..count.into()) {
            Some(lines) => Ok(Vectors::new(lines.iter().map(|line| FakeInterrupt(line.clone())))),
            None => Err(PciError::new(
                &self.name,
                "turning on interrupts",
                PciErrorKind::Missing("vectors left: ask for fewer, or with_vectors for more"),
            )),
        }
    }
    fn reset(&mut self) -> Result<(), PciError> {
        self.act(FunctionAct::Reset, "resetting it")?;
        self.config[COMMAND] &= !COMMAND_MASTER;
        Ok(())
    }
}

impl fmt::Debug for FakeFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeFunction({}, {:?}, {} vectors)", self.name, self.bar, self.lines.len())
    }
}

#[derive(Debug, Default)]
struct Line {
    fired: Mutex<u64>,
    changed: Condvar,
}

/// The card's end of an interrupt vector.
#[derive(Debug, Clone, Default)]
pub struct Trigger(Arc<Line>);

impl Trigger {
    /// Fires the vector. Whoever waits for it on another thread wakes.
    pub fn fire(&self) {
        *self.0.fired.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_all();
    }

    /// A vector without a function, for a queue that a test makes by hand.
    pub fn interrupt(&self) -> FakeInterrupt {
        FakeInterrupt(self.clone())
    }
}

/// The driver's end of an interrupt vector. It waits by the machine's clock.
#[derive(Debug)]
pub struct FakeInterrupt(Trigger);

impl Interrupt for FakeInterrupt {
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        let Line { fired, changed } = &*self.0.0;
        let end = timeout_us.map(|us| Instant::now() + Duration::from_micros(us));
        let mut fired = fired.lock().unwrap_or_else(PoisonError::into_inner);
        while *fired == 0 {
            let Some(end) = end else {
                fired = changed.wait(fired).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            fired = changed.wait_timeout(fired, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(core::mem::take(&mut fired))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::bar::RegSpace;
    use crate::testing::memory::domain;

    fn function() -> FakeFunction {
        FakeFunction::new("test", domain().0, PlainBar::new(16))
    }

    #[test]
    fn configuration_space_is_bytes() {
        // Status: a list of capabilities; the first at 0x40, of ID 9.
        let mut function = function().with_id(0x1af4, 0x1041).with_config(0x06, &[1 << 4]).with_config(0x34, &[0x40]).with_config(0x40, &[9, 0]);
        assert_eq!((function.config_read(0, 4), function.find_capability(9, None)), (Ok(0x1041_1af4), Ok(Some(0x40))));
        // SAFETY: there is no device.
        unsafe { function.config_write(0xfe, 2, 0x1_beef) }.unwrap();
        assert_eq!((function.config_read(0xfe, 2), function.config_read(0xff, 1)), (Ok(0xbeef), Ok(0xbe)));
        for (offset, width) in [(0xff, 2), (0x100, 1), (u16::MAX, 4), (0, 3)] {
            assert!(matches!(function.config_read(offset, width).unwrap_err().kind, PciErrorKind::Argument(_)), "{offset:#x}");
        }
    }

    #[test]
    fn what_it_is_told_to_do_may_fail() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        let mut function = function().on_act(move |act| {
            log.lock().unwrap().push(act);
            if act == FunctionAct::Reset { Err(PciErrorKind::Gone) } else { Ok(()) }
        });
        // SAFETY: there is no device.
        unsafe { function.allow_dma() }.unwrap();
        assert!(function.is_bus_master());
        assert_eq!(function.reset(), Err(PciError::new("test", "resetting it", PciErrorKind::Gone)));
        assert!(function.is_bus_master(), "what failed was not done");
        function.forbid_dma().unwrap();
        assert!(!function.is_bus_master());
        assert_eq!(*told.lock().unwrap(), [FunctionAct::AllowDma, FunctionAct::Reset, FunctionAct::ForbidDma]);
    }

    #[test]
    fn its_bar_is_the_tests() {
        let mut function = function();
        // SAFETY: the registers lead to no memory.
        let bar = unsafe { function.open_bar(0) }.unwrap();
        bar.write32(4, 7);
        assert_eq!(function.bar.writes(), [(4, 7)]);
        // SAFETY: as above.
        assert!(unsafe { function.open_bar(6) }.is_err());
    }

    #[test]
    fn a_vector_counts_and_wakes() {
        let mut function = function().with_vectors(2);
        assert_eq!(function.interrupt_count(), 2);
        assert!(matches!(function.enable_interrupts(3).unwrap_err().kind, PciErrorKind::Missing(_)));
        let mut vectors = function.enable_interrupts(2).unwrap();
        let (mut first, mut second) = (vectors.take(0).unwrap(), vectors.take(1).unwrap());
        let trigger = function.trigger(1);
        trigger.fire();
        trigger.fire();
        assert_eq!((first.wait(Some(0)), second.wait(None), second.wait(Some(1))), (Ok(0), Ok(2), Ok(0)));
        let late = std::thread::spawn(move || trigger.fire());
        assert_eq!(second.wait(None), Ok(1));
        late.join().unwrap();
    }
}
