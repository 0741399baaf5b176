//! Receive queues whose frames do not lie one behind the other: large receives (RSC, 7.11), and headers in buffers of their own (7.1.10). Off unless asked for; then
//! the rings' kernels take all frames the longer way of [`RxRing::take_whole`](driver_core::ring::RxRing::take_whole).

use driver_core::device::{ErrorKind, Settings};
use driver_core::ether::{HEADER_BYTES, VLAN_TAG_BYTES};
use driver_core::host::Bar;
use driver_core::ring::{LargeRules, RingError, RxRing, SplitRules, WholeLimits};

use crate::card::Card;
use crate::desc::rx;
use crate::irq::set_interval;
use crate::layout::Layout;
use crate::regs::*;

/// 7.11: how many large receives are open at a time.
const CONTEXTS: u32 = 32;
/// RSCCTL.MAXDESC (8.2.3.8.13): how many descriptors a large receive may have.
const MAXDESC: [u32; 4] = [1, 4, 8, 16];
/// The most buffers that large receives which are not complete hold: all but the last of each.
pub(crate) const HELD: u32 = CONTEXTS * (MAXDESC[3] - 1);
/// 8.2.3.8.13: the buffers of a large receive together are below 64 KiB.
const LARGEST_BYTES: u32 = 65_535;
/// What a header's buffer takes, in SRRCTL.BSIZEHEADER's steps: room for IPv6 and TCP with options behind two VLAN tags. 8.2.3.8.7 and 7.11.1: at least 128 bytes where a queue splits headers
/// or puts segments together.
const HEADER_ROOM_BYTES: u32 = 256;
/// RSC-TIMER: how long a large receive waits for more where no interrupts are used, whose interval it is otherwise.
const WAIT_US: u32 = 50;

/// What a receive queue does with frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Manner {
    /// They lie in descriptors one behind the other.
    #[default]
    Plain,
    /// Segments are put together.
    Large,
    /// Headers have buffers of their own.
    Split,
}

impl Manner {
    pub(crate) fn of(settings: &Settings) -> Self {
        match (settings.coalesces(), settings.splits_headers()) {
            (true, _) => Self::Large,
            (_, true) => Self::Split,
            _ => Self::Plain,
        }
    }

    /// Prepares a ring that the card does not know yet.
    pub(crate) fn prepare(self, ring: &mut RxRing) -> Result<(), RingError> {
        match self {
            Self::Plain => Ok(()),
            Self::Large => ring.coalesces(LargeRules { next_shift: rx::NEXTP_SHIFT, held: HELD }),
            Self::Split => ring.splits_headers(SplitRules { found: rx::SPH, too_long: rx::HBO, max_header_bytes: HEADER_ROOM_BYTES }),
        }
    }

    /// How large a frame of a queue may be, where one of so many bytes may come in and buffers have so many KB.
    pub(crate) fn limits(self, max_frame_bytes: usize, buffer_kb: u32) -> WholeLimits {
        let pieces = max_frame_bytes / (buffer_kb as usize * 1024) + 1;
        match self {
            Self::Plain => WholeLimits { max_bytes: max_frame_bytes, max_segments: pieces },
            // IP's length has 16 bits, and Ethernet's header comes on top.
            Self::Large => WholeLimits {
                max_bytes: u16::MAX as usize + HEADER_BYTES + VLAN_TAG_BYTES,
                max_segments: pieces.max(MAXDESC[most_descriptors(buffer_kb) as usize] as usize),
            },
            Self::Split => WholeLimits { max_bytes: max_frame_bytes, max_segments: pieces + 1 },
        }
    }

    /// SRRCTL's descriptor type and header size.
    pub(crate) fn srrctl(self) -> Srrctl {
        let header_room = Srrctl::from_bits_retain((HEADER_ROOM_BYTES / 64) << 8);
        match self {
            Self::Plain => Srrctl::DESCTYPE_ADVANCED_ONE_BUFFER,
            Self::Large => Srrctl::DESCTYPE_ADVANCED_ONE_BUFFER | header_room,
            Self::Split => Srrctl::DESCTYPE_HEADER_SPLIT | header_room,
        }
    }

    /// RSCCTL, for buffers of so many KB.
    pub(crate) fn rscctl(self, buffer_kb: u32) -> Rscctl {
        match self {
            Self::Large => Rscctl::RSCEN | Rscctl::from_bits_retain(most_descriptors(buffer_kb) << 2),
            _ => Rscctl::empty(),
        }
    }
}

/// RSCCTL.MAXDESC for the most descriptors whose buffers together are no larger than allowed.
fn most_descriptors(buffer_kb: u32) -> u32 {
    let fit = (0..).zip(MAXDESC).filter(|(_, count)| count * buffer_kb * 1024 <= LARGEST_BYTES);
    fit.map(|(code, _)| code).last().unwrap_or(0)
}

impl<B: Bar> Card<B> {
    /// What all queues share: which headers the card tells apart, and the clock by which large receives end.
    pub(crate) fn init_whole(&self, settings: &Settings) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        match Manner::of(settings) {
            Manner::Plain => {
                RFCTL.modify(bar, |v| v | Rfctl::RSC_DIS);
                if Layout::of(settings).has_pools() {
                    self.tell_headers_apart(Psrtype::empty(), settings)?;
                }
            }
            Manner::Large => {
                RFCTL.modify(bar, |v| v - Rfctl::RSC_DIS);
                // 7.11.1: headers up to TCP's have to be told apart.
                self.tell_headers_apart(Psrtype::TCPHDR, settings)?;
                if settings.vectors().is_none() {
                    self.time_large_receives(settings.rx().queue_count())?;
                }
            }
            Manner::Split => {
                RFCTL.modify(bar, |v| v | Rfctl::RSC_DIS);
                self.tell_headers_apart(Psrtype::all(), settings)?;
            }
        }
        Ok(())
    }

    /// 8.2.3.7.4: a register a pool, which says as well how many of its queues flows are spread over.
    fn tell_headers_apart(&self, types: Psrtype, settings: &Settings) -> Result<(), ErrorKind> {
        let layout = Layout::of(settings);
        for pool in 0..layout.pool_count() {
            PSRTYPE.at(pool.into())?.write(&self.bar, types | layout.rqpl(pool));
        }
        Ok(())
    }

    /// RSC-TIMER: without interrupts a queue still needs a vector, whose counter ends its large receives. Every one stays masked.
    fn time_large_receives(&self, rx_queues: u16) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        let entry = |queue: u32| if queue < rx_queues.into() { IVAR_VALID | (queue % QUEUE_CAUSES) } else { 0 };
        for (pair, ivar) in (0..u32::from(rx_queues.div_ceil(2))).zip(IVAR.iter()) {
            // 8.2.3.5.16: receive queue 2n in bits 7:0, 2n+1 in bits 23:16.
            ivar.write(bar, entry(2 * pair) | entry(2 * pair + 1) << 16);
        }
        // Without MSI-X every cause is vector 0's (7.3.1.1).
        set_interval(bar, self.places, 0, WAIT_US)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_receives_stay_below_64_kib() {
        assert_eq!([2, 3, 4, 5, 8, 10, 15, 16].map(|kb| MAXDESC[most_descriptors(kb) as usize]), [16, 16, 8, 8, 4, 4, 4, 1]);
    }
}
