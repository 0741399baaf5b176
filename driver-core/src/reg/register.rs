//! A register, and registers at equal distances.

use core::fmt;
use core::marker::PhantomData;

use crate::host::bar::RegSpace;
use crate::reg::value::{RegValue, Word};

/// A register may be read and written.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Rw {}
/// A register may only be read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Ro {}
/// A register may only be written.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Wo {}
/// Reading the register clears it: a counter, or a cause register.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ReadToClear {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Rw {}
    impl Sealed for super::Ro {}
    impl Sealed for super::Wo {}
}

/// Modes in which a read has no side effect: [`Rw`] and [`Ro`].
pub trait Pure: sealed::Sealed {}
/// Modes that can be written: [`Rw`] and [`Wo`].
pub trait Writable: sealed::Sealed {}
impl Pure for Rw {}
impl Pure for Ro {}
impl Writable for Rw {}
impl Writable for Wo {}

/// One register, as wide as its value.
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
    /// `offset` in bytes from the start of the space; `name` and `section` as the datasheet has them.
    pub const fn new(offset: u32, name: &'static str, section: &'static str) -> Self {
        Self { offset, name, section, kind: PhantomData }
    }
    /// Byte offset in its space.
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

impl<T: RegValue, M> Reg<T, M> {
    /// Its width in bytes.
    pub const fn len_bytes(self) -> u32 {
        T::Raw::LEN_BYTES
    }
    /// The offset of the first byte behind it.
    pub const fn end(self) -> u32 {
        self.offset + self.len_bytes()
    }
}

impl<T: RegValue, M: Pure> Reg<T, M> {
    /// Reads the register.
    #[inline]
    pub fn read(self, space: &(impl RegSpace + ?Sized)) -> T {
        T::from_raw(T::Raw::read(space, self.offset))
    }
}

impl<T: RegValue> Reg<T, ReadToClear> {
    /// Reads the register, which clears it.
    #[inline]
    pub fn read_and_clear(self, space: &(impl RegSpace + ?Sized)) -> T {
        T::from_raw(T::Raw::read(space, self.offset))
    }
}

impl<T: RegValue, M: Writable> Reg<T, M> {
    /// Writes the register.
    #[inline]
    pub fn write(self, space: &(impl RegSpace + ?Sized), value: T) {
        value.raw().write(space, self.offset);
    }
}

impl<T: RegValue, M: Writable + Pure> Reg<T, M> {
    /// Reads, changes and writes back. Reserved bits keep the value that was read.
    #[inline]
    pub fn modify(self, space: &(impl RegSpace + ?Sized), change: impl FnOnce(T) -> T) {
        self.write(space, change(self.read(space)));
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

impl<T: RegValue, M> RegArray<T, M> {
    /// The offset of the first byte behind the last register.
    pub const fn end(self) -> u32 {
        match self.count {
            0 => self.first.offset,
            count => self.first.end() + (count - 1) * self.stride,
        }
    }
}

/// An index beyond the end of a [`RegArray`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
