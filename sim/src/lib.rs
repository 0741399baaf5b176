//! Simulated devices.

pub mod wire;
