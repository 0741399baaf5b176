//! A BAR of plain memory and a clock that only sleeping moves, for unit tests of parts that talk to few registers.

use std::boxed::Box;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use driver_core::host::{Bar, BarError, Clock, Doorbell, RegSpace};

type Hook = Arc<dyn Fn(&FakeBar, u32) + Send + Sync>;

#[derive(Default)]
struct State {
    values: HashMap<u32, u32>,
    clearing: HashMap<u32, u32>,
    stuck: HashMap<u32, u32>,
    hooks: HashMap<u32, Hook>,
    notes: Vec<(u32, u32, u32)>,
}

/// Registers as memory.
#[derive(Clone, Default)]
pub(crate) struct FakeBar(Arc<Mutex<State>>);

impl FakeBar {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
    pub(crate) fn get(&self, offset: u32) -> u32 {
        self.state().values.get(&offset).copied().unwrap_or(0)
    }
    pub(crate) fn set(&self, offset: u32, value: u32) {
        self.state().values.insert(offset, value);
    }
    /// The next read gives `value`, those after it 0.
    pub(crate) fn set_clearing(&self, offset: u32, value: u32) {
        self.state().clearing.insert(offset, value);
    }
    /// These bits always read 1.
    pub(crate) fn stick(&self, offset: u32, bits: u32) {
        self.state().stuck.insert(offset, bits);
    }
    /// Called after each write of a register.
    pub(crate) fn on_write(&self, offset: u32, hook: impl Fn(&Self, u32) + Send + Sync + 'static) {
        self.state().hooks.insert(offset, Arc::new(hook));
    }
    pub(crate) fn note(&self, note: (u32, u32, u32)) {
        self.state().notes.push(note);
    }
    pub(crate) fn notes(&self) -> Vec<(u32, u32, u32)> {
        self.state().notes.clone()
    }
}

impl RegSpace for FakeBar {
    fn len_bytes(&self) -> usize {
        crate::regs::BAR_BYTES
    }
    fn read8(&self, offset: u32) -> u8 {
        self.read32(offset) as u8
    }
    fn read16(&self, offset: u32) -> u16 {
        self.read32(offset) as u16
    }
    fn read32(&self, offset: u32) -> u32 {
        let stuck = self.state().stuck.get(&offset).copied().unwrap_or(0);
        let once = self.state().clearing.remove(&offset);
        once.unwrap_or_else(|| self.get(offset)) | stuck
    }
    fn write8(&self, offset: u32, value: u8) {
        self.write32(offset, value.into());
    }
    fn write16(&self, offset: u32, value: u16) {
        self.write32(offset, value.into());
    }
    fn write32(&self, offset: u32, value: u32) {
        self.set(offset, value);
        let hook = self.state().hooks.get(&offset).cloned();
        if let Some(hook) = hook {
            hook(self, value);
        }
    }
}

impl Bar for FakeBar {
    type Doorbell = Box<FakeDoorbell>;

    fn doorbell(&self, offset: u32) -> Result<Self::Doorbell, BarError> {
        Ok(Box::new(FakeDoorbell(self.clone(), offset)))
    }
}

/// One register of a [`FakeBar`].
pub(crate) struct FakeDoorbell(FakeBar, u32);

impl Doorbell for Box<FakeDoorbell> {
    fn ring(&self, value: u32) {
        self.0.write32(self.1, value);
    }
    fn ring16(&self, value: u16) {
        self.0.write32(self.1, value.into());
    }
}

/// Time passes only in sleep, and one microsecond at each look.
#[derive(Default)]
pub(crate) struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn now_us(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
    fn sleep_us(&self, us: u64) {
        self.0.fetch_add(us, Ordering::Relaxed);
    }
}
