//! The card's counters (8.2.3.23), accumulated in 64 bits: [`list`] says which there are, [`counters`] how they are read and add up, [`function`] the same of a
//! virtual function, [`shared`] who reads them and
//! when.

mod counters;
mod function;
mod list;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use counters::Queues;
pub(crate) use shared::Counting;

pub(crate) use list::Look;
