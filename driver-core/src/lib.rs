//! What every Barewire driver shares. `no_std` and `alloc`, no system calls: the host gives memory, registers, interrupts and time.
//!
//! | wing | what is in it | for whom |
//! | --- | --- | --- |
//! | [`ether`] | addresses and lengths of Ethernet | everybody |
//! | [`host`] | one PCI function, DMA memory, interrupts, time | who brings drivers to a platform |
//! | [`barrier`] | every fence | who writes rings |
//! | [`reg`] | registers as one line each | who writes drivers |
//! | [`buf`] | the sk_buff, where it comes from, and how many travel together | applications |
//! | [`offload`] | checksums and VLAN tags in software: for a device that lacks them, or for a stack | applications and drivers |
//! | [`ring`] | descriptors in DMA memory, and the shadow that says who owns which buffer | who writes drivers |
//! | [`queue`] | the contracts of queues, stop and wake, NAPI; in [`queue::core`] what every driver's queues do alike | applications and drivers |
//! | [`device`] | the control side: configuration, information, statistics | applications and drivers |
//!
//! Each imports from those above it alone (`ci/circles` looks). With the feature `testing`, which links std, there is `testing`: what tests of drivers
//! are made of.
#![no_std]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("frames and descriptors are moved as little-endian 64-bit words: driver-core is for 64-bit little-endian targets");

extern crate alloc;
#[cfg(any(test, feature = "testing"))]
extern crate std;

pub mod barrier;
pub mod buf;
pub mod device;
pub mod ether;
pub mod host;
pub mod offload;
pub mod queue;
pub mod reg;
pub mod ring;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
