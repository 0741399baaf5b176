//! Frames that the MAC loops back come back as they were (8.2.3.22.8, HLREG0.LPBK): rings, DMA, packet buffers and MAC, without a wire.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use driver_core::buf::{Batch, BufPool, Frame};
use driver_core::device::{Config, ErrorKind, Flaw};
use driver_core::ether::{HEADER_BYTES, MacAddr};
use driver_core::host::{Bar, Clock, PciFunction};
use driver_core::queue::{RxQueue, TxQueue};

use crate::card::Card;
use crate::id::Family;
use crate::regs::*;
use crate::semaphore::Resource;
use crate::start::Ixgbe;

/// The MTU, in bytes, for which the card is set up.
const MTU: u32 = 9000;
/// Lengths in bytes of the frames of each lot, without the check sequence: the shortest and the longest, and those around boundaries of memory and buffers.
const LENGTHS: [u32; 12] = [60, 64, 65, 127, 256, 511, 1024, 1514, 2048, 2049, 4096, 9014];
/// Frames of a lot.
const LOT: u32 = 32;
/// Descriptors of the rings: for a lot of frames of five buffers.
const RING: u32 = 256;
/// IEEE Std 802's first EtherType for local experiments, behind which the frame's number stands.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// How long the MAC may take to loop, in microseconds (LOOPBACK).
const SETTLE_US: u64 = 20_000;
/// For how long a lot may be on its way.
const LIMIT_US: u64 = 500_000;
const EVERY_US: u64 = 100;

impl<F: PciFunction> Ixgbe<F> {
    pub(super) fn test_loopback(&mut self) -> Result<String, Flaw> {
        let config = Config::new().mtu(MTU).rx_ring(RING).tx_ring(RING);
        let mac = self.info().permanent_mac;
        let clock = self.card().clock.clone();
        let result = self.with_queues(&config, |card, rx, tx, pool| {
            card.set_loop(true)?;
            clock.sleep_us(SETTLE_US);
            let mut lane = Lane { rx, tx, pool, clock: &*clock, mac };
            let result = LENGTHS.into_iter().enumerate().try_for_each(|(lot, len_bytes)| lane.loop_lot(lot as u32 * LOT, len_bytes));
            card.set_loop(false)?;
            result
        });
        result.map_err(Flaw::from)??;
        let (count, last) = (LENGTHS.len() as u32 * LOT, LENGTHS[LENGTHS.len() - 1]);
        Ok(format!("{count} frames of {} to {last} bytes came back as they were sent", LENGTHS[0]))
    }
}

impl<B: Bar> Card<B> {
    /// LOOPBACK: the MAC's own loop, and a link where there is none.
    fn set_loop(&self, on: bool) -> Result<(), ErrorKind> {
        HLREG0.modify(&self.bar, |v| if on { v | Hlreg0::LPBK } else { v - Hlreg0::LPBK });
        match self.model.family {
            Family::I82599 => self.with_semaphore(Resource::MAC_CSR, || {
                AUTOC.modify(&self.bar, |v| if on { v | Autoc::FLU } else { v - Autoc::FLU });
                Ok(())
            })?,
            Family::X540 | Family::X550 => MACC.modify(&self.bar, |v| if on { v | Macc::FLU } else { v - Macc::FLU }),
        }
        self.flush();
        Ok(())
    }
}

/// A queue of each direction, with nothing between them but the card.
struct Lane<'a, R, T> {
    rx: &'a mut R,
    tx: &'a mut T,
    pool: &'a BufPool,
    clock: &'a dyn Clock,
    mac: MacAddr,
}

impl<R: RxQueue, T: TxQueue> Lane<'_, R, T> {
    /// Sends a lot of frames from number `first` on, and compares what comes back, byte by byte and in order.
    fn loop_lot(&mut self, first: u32, len_bytes: u32) -> Result<(), Flaw> {
        let mut going = Batch::new(LOT as usize);
        let bytes = |number| frame(self.mac, number, len_bytes as usize);
        for number in first..first + LOT {
            let frame = self.pool.frame_from(&bytes(number)).ok();
            if frame.and_then(|frame| going.push(frame).ok()).is_none() {
                return Err(Flaw::Missing { frame: number, len_bytes, came: 0 });
            }
        }
        let (mut coming, mut came, mut waited_us) = (Batch::new(LOT as usize), 0, 0);
        while came < LOT {
            // What it does not take now it takes in a later round; what it never takes does not come back.
            let _ = self.tx.submit(&mut going);
            self.rx.poll(&mut coming, LOT as usize);
            for frame in coming.frames().iter().filter(|frame| is_ours(frame)) {
                compare(frame, first + came, &bytes(first + came))?;
                came += 1;
            }
            coming.clear();
            if came < LOT {
                if waited_us >= LIMIT_US {
                    return Err(Flaw::Missing { frame: first + came, len_bytes, came });
                }
                self.clock.sleep_us(EVERY_US);
                waited_us += EVERY_US;
            }
        }
        Ok(())
    }
}

/// Whether a frame is one of those that were looped: no other has come in by the wire before.
fn is_ours(frame: &Frame) -> bool {
    frame.data().get(12..14) == Some(&ETHERTYPE)
}

/// A frame from the card to itself with its number and bytes of one of four kinds: that count, that turn all lines at once, that turn every other one, and of no order.
fn frame(mac: MacAddr, number: u32, len_bytes: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = mac.0.into_iter().chain(mac.0).chain(ETHERTYPE).chain(number.to_be_bytes()).collect();
    debug_assert!(bytes.len() > HEADER_BYTES);
    let mut state = number.wrapping_mul(0x9e37_79b9) | 1;
    bytes.extend((bytes.len()..len_bytes).map(|at| match number % 4 {
        0 => at as u8,
        1 => 0u8.wrapping_sub(at as u8 & 1),
        2 => 0x55 << (at & 1),
        _ => {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        }
    }));
    bytes
}

fn compare(came: &Frame, number: u32, sent: &[u8]) -> Result<(), Flaw> {
    let (sent_bytes, came_bytes) = (sent.len() as u32, came.len() as u32);
    let mut pairs = (0u32..).zip(sent.iter().zip(came.segments().flatten()));
    if let Some((at, (&sent, &came))) = pairs.find(|(_, (sent, came))| sent != came) {
        return Err(Flaw::Byte { frame: number, len_bytes: sent_bytes, at, sent, came });
    }
    if sent_bytes == came_bytes { Ok(()) } else { Err(Flaw::Length { frame: number, sent_bytes, came_bytes }) }
}

#[cfg(test)]
mod tests {
    use driver_core::buf::PoolConfig;
    use driver_core::testing::domain;

    use super::*;

    #[test]
    fn a_frame_that_comes_back_otherwise_is_told_by_its_first_difference() {
        let pool = BufPool::new(&domain().0, PoolConfig::new(8)).unwrap();
        let sent = frame(MacAddr([2, 0, 0, 0, 0, 1]), 7, 3000);
        let came = |bytes: &[u8]| compare(&pool.frame_from(bytes).unwrap(), 7, &sent);
        assert!(came(&sent).is_ok());
        assert!(matches!(came(&sent[..2999]), Err(Flaw::Length { frame: 7, sent_bytes: 3000, came_bytes: 2999 })));
        let mut wrong = sent.clone();
        wrong[2500] ^= 0x10;
        assert!(matches!(came(&wrong), Err(Flaw::Byte { frame: 7, len_bytes: 3000, at: 2500, sent, came }) if sent ^ came == 0x10));
    }

    #[test]
    fn frames_of_one_lot_differ() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let frames: std::collections::HashSet<_> = (0..LOT).map(|number| frame(mac, number, 60)).collect();
        assert_eq!(frames.len(), LOT as usize);
    }
}
