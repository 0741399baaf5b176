//! The control handle over a device that does as the test says.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use super::*;
use crate::device::config::Config;
use crate::host::bar::{Bar, BarError, Doorbell, RegSpace};
use crate::host::dma::DmaDomain;
use crate::host::pci::{PciError, PciErrorKind};
use crate::host::vectors::Vectors;
use crate::testing;

/// What the device does, and what was done to it.
#[derive(Default)]
struct Acts {
    refuses: bool,
    needs_reset: bool,
    is_up: bool,
    never_stops: bool,
    cannot_be_reset: bool,
    told: Vec<&'static str>,
}

#[derive(Clone, Default)]
struct Stage(Arc<Mutex<Acts>>);

impl Stage {
    fn act(&self, change: impl FnOnce(&mut Acts)) {
        change(&mut self.0.lock().unwrap());
    }
    fn told(&self) -> Vec<&'static str> {
        core::mem::take(&mut self.0.lock().unwrap().told)
    }
    /// The device is told something, and takes it or not.
    fn tell(&self, what: &'static str) -> Result<(), ErrorKind> {
        let mut acts = self.0.lock().unwrap();
        acts.told.push(what);
        if acts.refuses { Err(ErrorKind::TooManyAddresses { asked: 2, room: 1 }) } else { Ok(()) }
    }
}

struct Function {
    stage: Stage,
    domain: DmaDomain,
}

#[derive(Clone)]
struct NoBar;

impl RegSpace for NoBar {
    fn len_bytes(&self) -> usize {
        0
    }
    fn read8(&self, _: u32) -> u8 {
        u8::MAX
    }
    fn read16(&self, _: u32) -> u16 {
        u16::MAX
    }
    fn read32(&self, _: u32) -> u32 {
        u32::MAX
    }
    fn write8(&self, _: u32, _: u8) {}
    fn write16(&self, _: u32, _: u16) {}
    fn write32(&self, _: u32, _: u32) {}
}
impl Bar for NoBar {
    type Doorbell = NoBar;
    fn doorbell(&self, offset: u32) -> Result<NoBar, BarError> {
        Err(BarError { offset, len_bytes: 0 })
    }
}
impl Doorbell for NoBar {
    fn ring(&self, _: u32) {}
    fn ring16(&self, _: u16) {}
}
impl Interrupt for NoBar {
    fn wait(&mut self, _: Option<u64>) -> Result<u64, PciError> {
        Ok(7)
    }
}

// SAFETY: there is no device, and no register that leads to one.
unsafe impl PciFunction for Function {
    type Bar = NoBar;
    type Interrupt = NoBar;
    fn name(&self) -> &str {
        "test"
    }
    fn config_read(&self, _: u16, _: u8) -> Result<u32, PciError> {
        Ok(u32::MAX)
    }
    unsafe fn config_write(&mut self, _: u16, _: u8, _: u32) -> Result<(), PciError> {
        Ok(())
    }
    unsafe fn open_bar(&mut self, _: u8) -> Result<NoBar, PciError> {
        Ok(NoBar)
    }
    fn dma(&self) -> &DmaDomain {
        &self.domain
    }
    unsafe fn allow_dma(&mut self) -> Result<(), PciError> {
        Ok(())
    }
    fn forbid_dma(&mut self) -> Result<(), PciError> {
        self.stage.act(|acts| acts.told.push("no DMA"));
        Ok(())
    }
    fn interrupt_count(&self) -> u16 {
        0
    }
    fn enable_interrupts(&mut self, _: u16) -> Result<Vectors<NoBar>, PciError> {
        Ok(Vectors::default())
    }
    fn reset(&mut self) -> Result<(), PciError> {
        let mut acts = self.stage.0.lock().unwrap();
        acts.told.push("function reset");
        if acts.cannot_be_reset { Err(PciError::new("test", "resetting it", PciErrorKind::Gone)) } else { Ok(()) }
    }
}

struct Kernel {
    stage: Stage,
    function: Function,
    counted: u64,
}

impl ControlKernel for Kernel {
    type Function = Function;
    fn with_function<T>(&mut self, work: impl FnOnce(&mut Function) -> T) -> T {
        work(&mut self.function)
    }
    fn set_mac(&mut self, _: MacAddr, _: &Settings) -> Result<(), ErrorKind> {
        self.stage.tell("mac")
    }
    fn set_rx_mode(&mut self, _: RxMode) -> Result<(), ErrorKind> {
        self.stage.tell("mode")
    }
    fn set_unicast(&mut self, _: &[MacAddr], _: &Settings) -> Result<(), ErrorKind> {
        self.stage.tell("unicast")
    }
    fn set_multicast(&mut self, _: &[MacAddr]) -> Result<(), ErrorKind> {
        self.stage.tell("multicast")
    }
    fn needs_reset(&mut self) -> bool {
        self.stage.0.lock().unwrap().needs_reset
    }
    fn link(&mut self, _: &Settings) -> Result<Link, ErrorKind> {
        Ok(if self.stage.0.lock().unwrap().is_up { Link::up_at(Some(10)) } else { Link::down() })
    }
    fn read_counters(&mut self) {
        self.counted += 1;
    }
    fn stats(&self, _: &Totals, _: &Totals) -> Stats {
        Stats { rx_packets: self.counted, ..Stats::default() }
    }
    fn stop(&mut self) -> Result<(Silence, u32), ErrorKind> {
        self.stage.tell("stop")?;
        if self.stage.0.lock().unwrap().never_stops {
            return Err(ErrorKind::NeedsReset);
        }
        // SAFETY: there is no device.
        Ok((unsafe { Silence::confirmed() }, 3))
    }
}

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const GROUP: MacAddr = MacAddr([1, 0, 0x5e, 0, 0, 1]);

fn control(stage: &Stage) -> ControlCore<Kernel> {
    let function = Function { stage: stage.clone(), domain: testing::domain().0 };
    let kernel = Kernel { stage: stage.clone(), function, counted: 0 };
    let info = DeviceInfo::new("test", "test", "a test's", MAC);
    ControlCore::new(kernel, info, Settings::new(&Config::new(), MAC), Shared::new(), Some(Box::new(NoBar)))
}

/// Every setter, with what a device takes.
fn set_all(control: &mut ControlCore<Kernel>) -> [Result<(), Error>; 4] {
    [control.set_mac(OTHER), control.set_rx_mode(RxMode::PROMISCUOUS), control.set_unicast_filters(&[MAC]), control.set_multicast_filters(&[GROUP])]
}

#[test]
fn what_the_device_took_is_remembered_and_nothing_else() {
    let stage = Stage::default();
    let mut control = control(&stage);
    let at_start = control.settings().clone();
    stage.act(|acts| acts.refuses = true);
    let steps = set_all(&mut control).map(|result| result.unwrap_err().step());
    assert_eq!(steps, [steps::SETTING_MAC, steps::SETTING_RX_MODE, steps::SETTING_UNICAST, steps::SETTING_MULTICAST]);
    assert_eq!((stage.told(), control.settings()), (["mac", "mode", "unicast", "multicast"].into(), &at_start));
    stage.act(|acts| acts.refuses = false);
    set_all(&mut control).into_iter().for_each(Result::unwrap);
    let now = control.settings();
    assert_eq!((now.mac(), now.rx_mode(), now.unicast(), now.multicast()), (OTHER, RxMode::PROMISCUOUS, &[MAC][..], &[GROUP][..]));
    assert_eq!(control.mac(), OTHER);
}

#[test]
fn a_wrong_address_is_named_and_no_device_sees_it() {
    let stage = Stage::default();
    let mut control = control(&stage);
    let texts = [control.set_mac(GROUP), control.set_unicast_filters(&[OTHER, GROUP]), control.set_multicast_filters(&[GROUP, OTHER])];
    let texts = texts.map(|result| result.unwrap_err().to_string());
    assert!(texts[0].ends_with("01:00:5e:00:00:01 is no unicast address"), "{}", texts[0]);
    assert!(texts[1].ends_with("01:00:5e:00:00:01 is no unicast address"), "{}", texts[1]);
    assert!(texts[2].ends_with("02:00:00:00:00:02 is no multicast address"), "{}", texts[2]);
    let zero = MacAddr([0; 6]);
    assert!(matches!(control.set_mac(zero).unwrap_err().kind(), ErrorKind::Address { mac, wanted: "unicast" } if *mac == zero));
    assert_eq!((stage.told(), control.settings().mac()), (Vec::new(), MAC));
}

#[test]
fn a_stopped_device_is_told_nothing() {
    let stage = Stage::default();
    let mut control = control(&stage);
    stage.act(|acts| acts.is_up = true);
    assert!(control.link().up && control.check().is_ok());
    control.stop().unwrap();
    assert_eq!((stage.told(), control.shared().is_stopped()), (["stop", "no DMA"].into(), true));
    for error in set_all(&mut control).map(Result::unwrap_err).into_iter().chain([control.check().unwrap_err()]) {
        assert!(matches!(error.kind(), ErrorKind::Stopped), "{error}");
    }
    assert_eq!(control.link(), Link::down());
    let stats = control.stats();
    assert_eq!((stats.carrier_changes, stats.rx_packets, stats.tx_dropped), (1, 1, 3), "read once, when it was stopped");
    control.stop().unwrap();
    drop(control);
    assert_eq!(stage.told(), [""; 0], "once is enough");
}

#[test]
fn a_device_that_asks_for_a_reset_has_failed_from_then_on() {
    let stage = Stage::default();
    let mut control = control(&stage);
    stage.act(|acts| (acts.is_up, acts.needs_reset) = (true, true));
    assert!(matches!(control.check().unwrap_err().kind(), ErrorKind::NeedsReset));
    stage.act(|acts| acts.needs_reset = false);
    assert!(set_all(&mut control).iter().all(|result| matches!(result.as_ref().unwrap_err().kind(), ErrorKind::NeedsReset)));
    assert_eq!((control.link(), control.shared().state()), (Link::down(), State::Failed));
    control.stop().unwrap();
    assert!(control.shared().is_stopped());
}

#[test]
fn changes_of_the_link_are_counted() {
    let stage = Stage::default();
    let mut control = control(&stage);
    for is_up in [false, true, true, false, true] {
        stage.act(|acts| acts.is_up = is_up);
        assert_eq!(control.link().up, is_up);
    }
    assert_eq!(control.stats().carrier_changes, 3);
    assert_eq!(control.link_interrupt().unwrap().wait(None), Ok(7));
}

#[test]
fn a_device_that_does_not_stop_is_reset_as_a_whole() {
    let stage = Stage::default();
    let mut control = control(&stage);
    stage.act(|acts| acts.never_stops = true);
    control.stop().unwrap();
    assert_eq!((stage.told(), control.shared().is_stopped()), (["stop", "no DMA", "function reset"].into(), true));
}

#[test]
fn without_any_answer_the_device_is_taken_for_alive() {
    let stage = Stage::default();
    let mut control = control(&stage);
    stage.act(|acts| (acts.never_stops, acts.cannot_be_reset) = (true, true));
    let error = control.stop().unwrap_err();
    assert_eq!((error.function(), error.step(), control.shared().state()), ("test", steps::STOPPING, State::Stopping));
    assert!(matches!(error.kind(), ErrorKind::NeedsReset), "the device's failure, not that of the last resort: {error}");
    // A later try may do better, and the end of the handle is one.
    stage.act(|acts| acts.never_stops = false);
    assert_eq!(stage.told(), ["stop", "no DMA", "function reset"]);
    drop(control);
    assert_eq!(stage.told(), ["stop", "no DMA"]);
}
