//! How a virtio device is reached: one trait for every transport (chapter 4), and what implements it.
//!
//! The rest of the crate works on a [`Transport`] and knows no register of any. All of it is slow and rare but for [`Notify`], which a queue owns.

mod capabilities;
mod contract;
mod mmio;
mod modern;
mod selected;
mod structure;

pub(crate) use contract::{Notify, Transport};
pub(crate) use mmio::Mmio;
pub(crate) use modern::Modern;
pub(crate) use structure::SharedFunction;
