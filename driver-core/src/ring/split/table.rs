//! Chains in a table of their own.

use super::queue::{SplitQueue, descriptor};
use crate::host::dma::Iova;
use crate::ring::virtq::apart::Apart;
use crate::ring::virtq::{F_INDIRECT, F_NEXT};

/// Writes descriptors one after another into the table of `head` (2.7.5.3), in order as well: "indirect descriptors MUST appear sequentially".
pub(super) fn put<const HEADER: usize>(queue: &mut SplitQueue, apart: &mut Apart<HEADER>, head: u16, pieces: impl Iterator<Item = (Iova, u32)>) {
    let table = apart.put_table(head, pieces, |(iova, len), at, is_last| {
        let (flags, next) = if is_last { (0, 0) } else { (F_NEXT, at + 1) };
        descriptor(iova.0, len, flags, next)
    });
    if let Some((table, bytes)) = table {
        queue.desc.store(head.into(), descriptor(table.0, bytes, F_INDIRECT, 0));
    }
}
