//! What registers hold, and how wide they are.

use crate::host::bar::RegSpace;

mod sealed {
    pub trait Sealed {}
}

/// What one access moves: `u8`, `u16`, `u32` or `u64`, and nothing else.
pub trait Word: Copy + Eq + sealed::Sealed + 'static {
    /// Its size in bytes.
    const LEN_BYTES: u32;
    /// Reads one at `offset`.
    fn read(space: &(impl RegSpace + ?Sized), offset: u32) -> Self;
    /// Writes one at `offset`.
    fn write(self, space: &(impl RegSpace + ?Sized), offset: u32);
    /// The same number in 64 bits.
    fn widen(self) -> u64;
}

macro_rules! word {
    ($($int:ty: $read:ident $write:ident,)*) => {$(
        impl sealed::Sealed for $int {}
        impl Word for $int {
            const LEN_BYTES: u32 = size_of::<$int>() as u32;
            #[inline(always)]
            fn read(space: &(impl RegSpace + ?Sized), offset: u32) -> Self {
                space.$read(offset)
            }
            #[inline(always)]
            fn write(self, space: &(impl RegSpace + ?Sized), offset: u32) {
                space.$write(offset, self);
            }
            #[inline(always)]
            fn widen(self) -> u64 {
                self.into()
            }
        }
        impl RegValue for $int {
            type Raw = $int;
            #[inline(always)]
            fn from_raw(raw: $int) -> Self {
                raw
            }
            #[inline(always)]
            fn raw(self) -> $int {
                self
            }
        }
    )*};
}
word! {
    u8: read8 write8,
    u16: read16 write16,
    u32: read32 write32,
    u64: read64 write64,
}

/// What a register holds: a plain number, a bitflags type made by [`reg_flags!`](crate::reg_flags), or a newtype. Its raw type is the register's width.
/// Bits without a name survive the round trip, so a read-modify-write never clears what the datasheet reserves.
pub trait RegValue: Copy {
    /// The bits.
    type Raw: Word;
    /// From the bits as read.
    fn from_raw(raw: Self::Raw) -> Self;
    /// The bits to write.
    fn raw(self) -> Self::Raw;
}

/// Declares a bitflags type that is a [`RegValue`](crate::reg::RegValue) and keeps unknown bits. It is over `u32` unless another width is said:
/// `struct Status: u8 { ... }`.
#[macro_export]
macro_rules! reg_flags {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($body:tt)* }) => {
        $crate::reg_flags! { $(#[$meta])* $vis struct $name: u32 { $($body)* } }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident: $raw:ty { $($body:tt)* }) => {
        $crate::reg::bitflags! {
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            $vis struct $name: $raw {
                $($body)*
                const _ = !0;
            }
        }
        impl $crate::reg::RegValue for $name {
            type Raw = $raw;
            #[inline(always)]
            fn from_raw(raw: $raw) -> Self { Self::from_bits_retain(raw) }
            #[inline(always)]
            fn raw(self) -> $raw { self.bits() }
        }
    };
}
#[doc(hidden)]
pub use bitflags::bitflags;
