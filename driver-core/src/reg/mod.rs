//! Registers as one line each: offset, value type, access mode, and the datasheet's name and section.
//!
//! ```
//! use driver_core::reg::{Reg, RegArray, Rw, Ro};
//! driver_core::reg_flags! {
//!     /// Device control.
//!     pub struct Ctrl {
//!         /// Device reset.
//!         const RST = 1 << 26;
//!     }
//! }
//! const CTRL: Reg<Ctrl, Rw> = Reg::new(0x0_0000, "CTRL", "8.2.3.1.1");
//! const RAL: RegArray<u32, Rw> = RegArray::new(0xA200, 8, 128, "RAL", "8.2.3.7.7");
//! assert_eq!(RAL.at(2).unwrap().offset(), 0xA210);
//! assert!(RAL.at(128).is_err());
//! ```

use core::fmt;
use core::marker::PhantomData;

use crate::host::bar::Bar;
use crate::host::clock::Clock;

/// A register may be read and written.
#[derive(Debug, Clone, Copy)]
pub enum Rw {}
/// A register may only be read.
#[derive(Debug, Clone, Copy)]
pub enum Ro {}
/// A register may only be written.
#[derive(Debug, Clone, Copy)]
pub enum Wo {}
/// Reading the register clears it: a counter, or a cause register.
#[derive(Debug, Clone, Copy)]
pub enum ReadToClear {}

/// Modes in which a read has no side effect.
pub trait Pure {}
/// Modes that can be written.
pub trait Writable {}
impl Pure for Rw {}
impl Pure for Ro {}
impl Writable for Rw {}
impl Writable for Wo {}

/// What a 32-bit register holds: plain `u32`, a bitflags type made by [`reg_flags!`](crate::reg_flags), or a newtype.
/// Bits without a name survive the round trip, so a read-modify-write never clears what the datasheet reserves.
pub trait RegValue: Copy {
    /// From the bits as read.
    fn from_raw(raw: u32) -> Self;
    /// The bits to write.
    fn raw(self) -> u32;
}

impl RegValue for u32 {
    #[inline(always)]
    fn from_raw(raw: u32) -> Self {
        raw
    }
    #[inline(always)]
    fn raw(self) -> u32 {
        self
    }
}

/// Declares a bitflags type over `u32` that is a [`RegValue`] and keeps unknown bits.
#[macro_export]
macro_rules! reg_flags {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($body:tt)* }) => {
        $crate::reg::bitflags! {
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            $vis struct $name: u32 {
                $($body)*
                const _ = !0;
            }
        }
        impl $crate::reg::RegValue for $name {
            #[inline(always)]
            fn from_raw(raw: u32) -> Self { Self::from_bits_retain(raw) }
            #[inline(always)]
            fn raw(self) -> u32 { self.bits() }
        }
    };
}
#[doc(hidden)]
pub use bitflags::bitflags;

/// One 32-bit register.
pub struct Reg<T, M> {
    offset: u32,
    name: &'static str,
    section: &'static str,
    kind: PhantomData<fn() -> (T, M)>,
}

impl<T, M> Clone for Reg<T, M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, M> Copy for Reg<T, M> {}

impl<T, M> fmt::Display for Reg<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#07x}, section {})", self.name, self.offset, self.section)
    }
}

impl<T, M> Reg<T, M> {
    /// `offset` in bytes from the start of the BAR; `name` and `section` as the datasheet has them.
    pub const fn new(offset: u32, name: &'static str, section: &'static str) -> Self {
        Self { offset, name, section, kind: PhantomData }
    }
    /// Byte offset in the BAR.
    pub const fn offset(self) -> u32 {
        self.offset
    }
    /// The datasheet's name.
    pub const fn name(self) -> &'static str {
        self.name
    }
    /// The datasheet's section.
    pub const fn section(self) -> &'static str {
        self.section
    }
}

impl<T: RegValue, M: Pure> Reg<T, M> {
    /// Reads the register.
    #[inline]
    pub fn read(self, bar: &impl Bar) -> T {
        T::from_raw(bar.read32(self.offset))
    }
}

impl<T: RegValue> Reg<T, ReadToClear> {
    /// Reads the register, which clears it.
    #[inline]
    pub fn read_and_clear(self, bar: &impl Bar) -> T {
        T::from_raw(bar.read32(self.offset))
    }
}

impl<T: RegValue, M: Writable> Reg<T, M> {
    /// Writes the register.
    #[inline]
    pub fn write(self, bar: &impl Bar, value: T) {
        bar.write32(self.offset, value.raw());
    }
}

impl<T: RegValue, M: Writable + Pure> Reg<T, M> {
    /// Reads, changes and writes back. Reserved bits keep the value that was read.
    #[inline]
    pub fn modify(self, bar: &impl Bar, change: impl FnOnce(T) -> T) {
        self.write(bar, change(self.read(bar)));
    }
}

/// Registers of one kind at equal distances.
pub struct RegArray<T, M> {
    first: Reg<T, M>,
    stride: u32,
    count: u32,
}

impl<T, M> Clone for RegArray<T, M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, M> Copy for RegArray<T, M> {}

impl<T, M> RegArray<T, M> {
    /// `offset` and `stride` in bytes, `count` registers.
    pub const fn new(offset: u32, stride: u32, count: u32, name: &'static str, section: &'static str) -> Self {
        Self { first: Reg::new(offset, name, section), stride, count }
    }
    /// The `index`th register.
    ///
    /// # Errors
    /// [`NoSuchRegister`] where `index` is not below [`RegArray::count`].
    #[inline]
    pub const fn at(self, index: u32) -> Result<Reg<T, M>, NoSuchRegister> {
        if index < self.count {
            Ok(Reg { offset: self.first.offset + index * self.stride, ..self.first })
        } else {
            Err(NoSuchRegister { name: self.first.name, index, count: self.count })
        }
    }
    /// How many there are.
    pub const fn count(self) -> u32 {
        self.count
    }
    /// All of them in order.
    pub fn iter(self) -> impl Iterator<Item = Reg<T, M>> {
        (0..self.count).map(move |i| Reg { offset: self.first.offset + i * self.stride, ..self.first })
    }
}

/// An index beyond the end of a [`RegArray`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchRegister {
    /// The array's name.
    pub name: &'static str,
    /// The index asked for.
    pub index: u32,
    /// How many registers the array has.
    pub count: u32,
}

impl fmt::Display for NoSuchRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] does not exist: the card has {} of them", self.name, self.index, self.count)
    }
}
impl core::error::Error for NoSuchRegister {}

/// A register that did not reach the awaited state in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout {
    /// The register's name.
    pub register: &'static str,
    /// Its offset in the BAR, in bytes.
    pub offset: u32,
    /// The datasheet's section.
    pub section: &'static str,
    /// What was waited for.
    pub what: &'static str,
    /// The last value read.
    pub last: u32,
    /// For how long it was polled, in microseconds.
    pub waited_us: u64,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "waited {} us for {}: {} ({:#07x}, section {}) still reads {:#010x}",
            self.waited_us, self.what, self.register, self.offset, self.section, self.last
        )?;
        if self.last == u32::MAX {
            write!(f, "; all ones mean that the card does not answer (unplugged, powered down, or memory decoding is off)")?;
        }
        Ok(())
    }
}
impl core::error::Error for Timeout {}

/// The polling loop of drivers, for every wait on a register: reads `reg` until `done` holds, sleeping between reads, for at most `limit_us`.
///
/// # Errors
/// [`Timeout`] with the register and the last value seen.
pub fn wait_until<T: RegValue, M: Pure>(
    bar: &impl Bar,
    reg: Reg<T, M>,
    what: &'static str,
    clock: &dyn Clock,
    limit_us: u64,
    mut done: impl FnMut(T) -> bool,
) -> Result<T, Timeout> {
    let start_us = clock.now_us();
    // Short waits first: most conditions hold within a few microseconds, and the worst are tens of milliseconds long.
    let mut pause_us = 1;
    loop {
        let waited_us = clock.now_us().saturating_sub(start_us);
        let value = reg.read(bar);
        if done(value) {
            return Ok(value);
        }
        if waited_us >= limit_us {
            return Err(Timeout { register: reg.name, offset: reg.offset, section: reg.section, what, last: value.raw(), waited_us });
        }
        clock.sleep_us(pause_us.min(limit_us - waited_us).max(1));
        pause_us = (pause_us * 2).min(1000);
    }
}
