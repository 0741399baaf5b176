//! What every Barewire driver shares. `no_std` and `alloc`, no system calls: the host gives memory, registers, interrupts and time.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`bar`], [`reg`] | register access: a trait over one BAR, and registers as one line each |
//! | [`pci`], [`clock`] | what a host gives: one PCI function, interrupts, time |
//! | [`dma`], [`iova`] | memory that devices reach, and the addresses they reach it at |
//! | [`frame`], [`pool`], [`batch`] | the sk_buff, where it comes from, and how many travel together |
//! | [`ring`], [`rxring`], [`txring`] | descriptors in DMA memory, and the shadow that says who owns which buffer |
//! | [`split`], [`words`] | split virtqueues, and the 16- and 32-bit words that they are made of |
//! | [`gate`], [`queue`], [`poller`] | stop and wake, the contracts of queues, NAPI |
//! | [`device`], [`config`], [`stats`] | the control side |
//! | [`barrier`], [`lane`] | every fence, and two 64-bit words at a time |
#![no_std]

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("frames and descriptors are moved as little-endian 64-bit words: driver-core is for 64-bit little-endian targets");

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bar;
pub mod barrier;
pub mod batch;
pub mod clock;
pub mod config;
pub mod device;
pub mod dma;
pub mod frame;
pub mod gate;
#[cfg(test)]
mod gate_tests;
pub mod iova;
pub mod lane;
pub mod pci;
pub mod poller;
pub mod pool;
pub mod queue;
pub mod reg;
pub mod ring;
#[cfg(test)]
mod ring_tests;
pub mod rxring;
pub mod split;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod txring;
pub mod words;
