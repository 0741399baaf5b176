//! Completions that no card writes, put into the ring behind the model's back.

use crate::common::Card;
use driver_core::buf::Batch;
use driver_core::device::Config;
use driver_core::host::{Iova, RegSpace};
use driver_core::queue::RxQueue;

/// Receive Descriptor Base Address of queue 0 (8.2.3.8.1, 8.2.3.8.2).
const RDBAL: u32 = 0x01000;
const RDBAH: u32 = 0x01004;

#[test]
fn a_ring_that_is_done_all_at_once_is_taken_and_counted() {
    let card = Card::new();
    let pool = card.pool(driver_core::buf::PoolConfig::new(512));
    card.audit.excuse("the card has received nothing");
    let mut started = card.start(&Config::new().pool(pool.clone()).rx_ring(64));
    let registers = card.registers();
    let ring = Iova(u64::from(registers.read32(RDBAL)) | u64::from(registers.read32(RDBAH)) << 32);
    for slot in 0..64 {
        // Write-back (7.1.6.2), word 1: done, end of packet, 60 bytes. One descriptor is always the driver's, so that no honest card is done with all 64.
        let word = 0b11u64 | 60 << 32;
        // SAFETY: the driver expects its card to write there, and looks only in `poll`.
        unsafe { card.device.iommu().write(ring.offset(16 * slot + 8), &word.to_le_bytes()) }.unwrap();
    }
    let mut batch = Batch::new(64);
    assert_eq!(started.rx[0].poll(&mut batch, 64), 64);
    let counters = started.rx[0].counters();
    assert_eq!((batch.len(), counters.packets, counters.doorbells), (64, 64, 1));
    assert_eq!((started.rx[0].poll(&mut batch, 64), started.rx[0].fault()), (0, None));
    drop((started, batch));
    assert_eq!(pool.available(), pool.len());
    card.assert_no_violations();
}
