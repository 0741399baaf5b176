//! What every Barewire driver shares. `no_std` and `alloc`, no system calls: the host gives memory, registers, interrupts and time.
//!
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bar;
pub mod barrier;
pub mod clock;
pub mod dma;
pub mod gate;
pub mod iova;
pub mod pci;
pub mod reg;
pub mod stats;
