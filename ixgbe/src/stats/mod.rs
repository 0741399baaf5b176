//! The card's counters (8.2.3.23), accumulated in 64 bits: [`list`] says which there are, [`counters`] how they are read and add up, [`shared`] who reads them and
//! when.

mod counters;
mod list;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use counters::Queues;
pub(crate) use shared::Counting;

pub(crate) use list::Look;
