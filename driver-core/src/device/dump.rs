//! Registers as a device has them now, for people and their scripts.

use alloc::borrow::Cow;
use alloc::vec::Vec;

/// A part of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldValue {
    /// The datasheet's name.
    pub name: &'static str,
    /// Its bits, moved down to bit 0.
    pub value: u32,
}

impl FieldValue {
    /// A field that has this value.
    pub const fn new(name: &'static str, value: u32) -> Self {
        Self { name, value }
    }
}

/// One register of [`NetDevice::registers`](crate::device::NetDevice::registers).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisterValue {
    /// The datasheet's name, with the number where there are several: `RDT[3]`.
    pub name: Cow<'static, str>,
    /// Byte offset in the device's register space.
    pub offset: u32,
    /// The datasheet's section.
    pub section: &'static str,
    /// What it holds.
    pub value: u32,
    /// Its parts, from the lowest bit up, as far as they have names.
    pub fields: Vec<FieldValue>,
}

impl RegisterValue {
    /// A register that was read.
    pub fn new(name: impl Into<Cow<'static, str>>, offset: u32, section: &'static str, value: u32, fields: Vec<FieldValue>) -> Self {
        Self { name: name.into(), offset, section, value, fields }
    }
}
