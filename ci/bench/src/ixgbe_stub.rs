//! A stub 82599: just enough answers for the driver to start, and the two rings.

use std::sync::Arc;

use driver_core::device::Config;
use driver_core::host::DmaDomain;
use driver_core::queue::{RxQueue, TxQueue};

use crate::hook;
use crate::host::{HostClock, PlainBar, StubFunction, device_ptr};
use crate::lap::{Card, Port};
use crate::workload::Shape;

/// Typed from the datasheet once more: a benchmark is no judge of offsets, but it should not follow the driver's mistakes either.
const CTRL: u32 = 0x0_0000;
const STATUS: u32 = 0x0_0008;
const RDBAL0: u32 = 0x0_1000;
const RDBAH0: u32 = 0x0_1004;
const RDLEN0: u32 = 0x0_1008;
const RDRXCTL: u32 = 0x0_2F00;
const TDBAL0: u32 = 0x0_6000;
const TDBAH0: u32 = 0x0_6004;
const TDT0: u32 = 0x0_6018;
const SECRXSTAT: u32 = 0x0_8D04;
const RAL0: u32 = 0x0_A200;
const RAH0: u32 = 0x0_A204;
const EEC: u32 = 0x1_0010;
const SWSM: u32 = 0x1_0140;

fn answer(bar: &PlainBar, offset: u32) -> u32 {
    let stored = bar.stored(offset);
    match offset {
        // Resets are over at once, and no request is ever pending.
        CTRL => stored & !(1 << 26 | 1 << 3),
        STATUS => 0,
        // DMAIDONE, SECRX_RDY, EEPROM present and read.
        RDRXCTL => stored | 1 << 3,
        SECRXSTAT => 1,
        EEC => 1 << 8 | 1 << 9,
        // Nobody else holds the semaphore.
        SWSM => stored & !1,
        RAL0 => 0x0200_0002,
        RAH0 => 1 << 31 | 0x0100,
        _ => stored,
    }
}

/// The card's view of the two rings.
pub(crate) struct Stub {
    bar: PlainBar,
    shape: Shape,
    rx: *mut [u64; 2],
    tx: *mut [u64; 2],
    mask: u32,
    rx_head: u32,
    tx_head: u32,
}

impl Card for Stub {
    fn receive(&mut self, frames: usize) {
        for _ in 0..frames {
            let mut left = self.shape.frame_bytes;
            while left > 0 {
                let len = left.min(self.shape.buffer_bytes);
                left -= len;
                // Section 7.1.6.2: RSS hash and type; the length, status DD, and EOP with the last.
                let words = [0x1234_5678 << 32 | 1, u64::from(len) << 32 | 1 | u64::from(left == 0) << 1];
                // SAFETY: the driver's ring is alive while the lap is, and the index is masked; the driver lent the buffer.
                unsafe {
                    let at = self.rx.add((self.rx_head & self.mask) as usize);
                    if self.shape.is_marked {
                        let [iova, _] = at.read_volatile();
                        device_ptr::<u8>(iova).add(hook::MARK_AT).cast::<u32>().write_unaligned(hook::mark(self.rx_head));
                    }
                    at.write_volatile(words);
                }
                self.rx_head = self.rx_head.wrapping_add(1);
            }
        }
    }

    fn send(&mut self) -> usize {
        let tail = self.bar.stored(TDT0);
        let mut sent = 0;
        while self.tx_head & self.mask != tail {
            // SAFETY: as in `receive`.
            let word = unsafe {
                let at = self.tx.add((self.tx_head & self.mask) as usize);
                let [_, word] = at.read_volatile();
                // Section 7.2.3.2.4: RS asks for a report, which is DD in the status field.
                if word & 1 << 27 != 0 {
                    at.write_volatile([0, 1 << 32]);
                }
                word
            };
            self.tx_head = self.tx_head.wrapping_add(1);
            // EOP: one a frame.
            sent += usize::from(word & 1 << 24 != 0);
        }
        sent
    }
}

/// The 82599 driver, started on a stub in `domain`.
pub(crate) fn port(domain: &DmaDomain, config: &Config, shape: Shape) -> Port<impl RxQueue + use<>, impl TxQueue + use<>, Stub> {
    let bar = PlainBar::new(128 * 1024, answer);
    let function = StubFunction::new((0x8086, 0x10fb), &[], bar.clone(), domain);
    let device = ixgbe::open(function, Arc::new(HostClock::new())).expect("the stub answers");
    let mut started = device.start(config).expect("the stub starts");
    let base = |low, high| device_ptr(u64::from(bar.stored(low)) | u64::from(bar.stored(high)) << 32);
    let mask = bar.stored(RDLEN0) / 16 - 1;
    let card = Stub { rx: base(RDBAL0, RDBAH0), tx: base(TDBAL0, TDBAH0), mask, rx_head: 0, tx_head: 0, bar: bar.clone(), shape };
    let (rx, tx) = (started.rx.remove(0), started.tx.remove(0));
    // The control handle would stop the card when dropped; the process ends with the benchmark.
    std::mem::forget(started.control);
    Port { rx, tx, card, pool: started.pool }
}
