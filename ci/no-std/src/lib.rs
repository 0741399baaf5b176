//! What a firmware or kernel without std does with the drivers: its own allocator, panic handler and PCI function.
//!
//! It need not do anything useful. It must name what applications name, so that the generic code is compiled for it.
#![no_std]

extern crate alloc;

mod host;

use alloc::sync::Arc;

use driver_core::buf::{Batch, BufPool, PoolConfig};
use driver_core::device::{Config, NetDevice};
use driver_core::host::{DmaDomain, PciFunction};
use driver_core::queue::{Poller, RxQueue, TxQueue, TxState};

use crate::host::{Card, Memory, Ticks};

/// Makes a pool in a domain of its own and takes a frame from it: 0 when all of it worked.
#[unsafe(no_mangle)]
pub extern "C" fn barewire_core() -> i32 {
    let domain = DmaDomain::new(Arc::new(Memory));
    let card = Card::new(domain.clone());
    if card.id().is_err() {
        return 1;
    }
    let Ok(pool) = BufPool::new(&domain, PoolConfig::new(64)) else { return 2 };
    let Some(frame) = pool.take() else { return 3 };
    i32::from(!pool.owns(&frame))
}

/// Opens and starts a card by the ixgbe driver, and forwards once: 0 never comes back, since there is no card.
#[unsafe(no_mangle)]
pub extern "C" fn barewire_ixgbe() -> i32 {
    let card = Card::new(DmaDomain::new(Arc::new(Memory)));
    let Ok(device) = ixgbe::open(card, Arc::new(Ticks::default())) else { return 1 };
    let Ok(mut started) = device.start(&Config::new()) else { return 2 };
    if !forward_once(&mut started.rx, &mut started.tx) {
        return 3;
    }
    started.control.stop().map_or(4, |()| 0)
}

/// The same by the virtio-net driver.
#[unsafe(no_mangle)]
pub extern "C" fn barewire_virtio_net() -> i32 {
    let card = Card::new(DmaDomain::new(Arc::new(Memory)));
    let Ok(device) = virtio_net::open(card, Arc::new(Ticks::default())) else { return 1 };
    let Ok(mut started) = device.start(&Config::new()) else { return 2 };
    if !forward_once(&mut started.rx, &mut started.tx) {
        return 3;
    }
    started.control.stop().map_or(4, |()| 0)
}

fn forward_once<R: RxQueue, T: TxQueue>(rx: &mut [R], tx: &mut [T]) -> bool {
    let mut batch = Batch::new(32);
    rx.iter_mut().zip(tx).all(|(rx, tx)| {
        rx.poll(&mut batch, 32);
        matches!(tx.submit(&mut batch), TxState::Running)
    })
}

/// One worker's turn: waits for frames on one queue and sends them out of another.
pub fn turn<R: RxQueue, T: TxQueue>(rx: &mut Poller<R>, tx: &mut T, batch: &mut Batch) -> bool {
    rx.next(batch, Some(1000)).is_ok() && matches!(tx.submit(batch), TxState::Running)
}
