//! Batches of frames that go different ways to the device: plain ones, such that ask for checksums in one place or another, in one buffer or several, to be cut, tagged. What leaves
//! is what software makes of each, in their order.

use super::rig::{Rig, small};
use crate::packets::{Packet, TCP, UDP, by_software};
use driver_core::buf::{Batch, BufPool, Checksum, Frame, PoolConfig};
use driver_core::device::NetDevice;
use driver_core::ether::MIN_FRAME_BYTES;
use driver_core::queue::{TxQueue, TxState};
use driver_core::testing::bytes_of;
use proptest::prelude::*;
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::Features;

#[derive(Debug, Clone)]
struct Sent {
    is_tcp: bool,
    is_ipv6: bool,
    options: usize,
    /// Each kind comes several times in a row, as flows do.
    times: usize,
    len: usize,
    sums: bool,
    pieces: usize,
    cut: Option<u16>,
    tag: Option<u16>,
    is_foreign: bool,
}

prop_compose! {
    fn sent()(
        (is_tcp, is_ipv6, sums) in any::<(bool, bool, bool)>(),
        options in prop::sample::select(vec![0, 0, 0, 1, 2]),
        times in 1usize..20,
        len in 0usize..1300,
        pieces in prop::sample::select(vec![1, 1, 1, 2, 3, 6]),
        cut in prop::option::weighted(0.2, 100u16..1300),
        tag in prop::option::weighted(0.1, any::<u16>()),
        is_foreign in prop::bool::weighted(0.2),
    ) -> Sent {
        Sent { is_tcp, is_ipv6, options, times, len, sums, pieces, cut, tag, is_foreign }
    }
}

impl Sent {
    /// The frame, and what the wire has to carry of it, which software makes in buffers of `scratch`.
    fn frame(&self, number: usize, pool: &BufPool, scratch: &BufPool) -> (Frame, Vec<Vec<u8>>) {
        let len = if self.cut.is_some() { self.len * 4 + 1 } else { self.len };
        let payload = (0..len).map(|k| (k * 3 + number) as u8 | 1).collect();
        let packet = Packet { options: self.options, payload, ..Packet::new(if self.is_tcp { TCP } else { UDP }, self.is_ipv6, 0) };
        let asking = |pool: &BufPool, first: usize, each: usize| {
            let mut frame = packet.in_pieces(pool, first, each);
            frame.set_vlan(self.tag);
            frame.set_checksum(if self.sums { packet.partial() } else { Checksum::Unknown });
            frame.set_segmentation(self.cut.map(|mss| packet.cut(mss)));
            if self.cut.is_none() && !self.sums && self.tag.is_none() { packet.in_pieces(pool, first, each) } else { frame }
        };
        let first = packet.header_bytes() + len.div_ceil(self.pieces);
        let frame = asking(pool, first.min(2048), len.div_ceil(self.pieces).clamp(1, 2048));
        let mut made = asking(scratch, 2048, 2048);
        let wanted = if self.cut.is_some() {
            made.cut(scratch).unwrap()
        } else {
            made.fill_in_checksum().unwrap();
            vec![made]
        };
        (frame, wanted.into_iter().map(|frame| padded(bytes_of(&frame.copy_with_vlan(scratch).unwrap()))).collect())
    }
}

/// Software pads; a device that cuts does not.
fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().max(MIN_FRAME_BYTES), 0);
    bytes
}

/// Whether the bytes are the same, but for a checksum of zero, which software stores as its twin 0xffff: of that the specification says nothing.
fn are_same(arrived: &[u8], wanted: &[u8]) -> bool {
    let differ: Vec<_> = (0..wanted.len()).filter(|&at| arrived.get(at) != wanted.get(at)).collect();
    let is_twin = |at: &usize| wanted[*at] == 0xff && arrived[*at] == 0;
    arrived.len() == wanted.len() && (differ.is_empty() || differ.len() == 2 && differ[0] + 1 == differ[1] && differ.iter().all(is_twin))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(12), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_leaves_as_software_makes_it_and_in_its_place(
        all in prop::collection::vec(sent(), 1..24),
        indirect: bool,
        (hashes, csum) in (any::<bool>(), prop::bool::weighted(0.8)),
    ) {
        let mut missing = Features::empty();
        missing.set(Features::INDIRECT_DESC, !indirect);
        missing.set(Features::CSUM, !csum);
        let mut rig = Rig::with(Options::new().segmentation(csum).without(missing.bits()));
        let other = BufPool::new(&rig.domain(), PoolConfig::new(1024)).unwrap();
        let pool = BufPool::new(&rig.domain(), PoolConfig::new(2048)).unwrap();
        let scratch = BufPool::new(&driver_core::testing::domain().0, PoolConfig::new(256)).unwrap();
        let mut parts = rig.parts(&small().tx_ring(128).rx_hash(hashes).pool(pool.clone()));
        let (mut batch, mut wanted, mut number, mut arrived) = (Batch::new(512), Vec::new(), 0, Vec::new());
        for kind in &all {
            for _ in 0..kind.times {
                let (frame, frames) = kind.frame(number, if kind.is_foreign { &other } else { &pool }, &scratch);
                wanted.extend(frames);
                batch.push(frame).unwrap();
                number += 1;
            }
        }
        let mut rounds = 0;
        while !batch.is_empty() {
            let state = parts.tx.submit(&mut batch);
            prop_assert!(matches!(state, TxState::Running | TxState::Stopped), "{state:?}");
            rig.run_us(400);
            arrived.extend(rig.arrived());
            rounds += 1;
            prop_assert!(rounds < 4000, "it stands still with {} frames", batch.len());
        }
        rig.run_us(400);
        arrived.extend(rig.arrived());
        prop_assert_eq!(arrived.len(), wanted.len());
        for (index, (arrived, wanted)) in arrived.into_iter().zip(&wanted).enumerate() {
            let arrived = padded(arrived);
            prop_assert!(are_same(&arrived, wanted), "frame {index}: {arrived:?}, not {wanted:?}");
        }
        let accounts = parts.control.accounts();
        prop_assert_eq!((accounts.tx_taken, accounts.tx_taken + accounts.tx_cut), (number as u64, wanted.len() as u64));
        while parts.tx.pending() > 0 {
            parts.tx.reclaim();
        }
        drop((parts, batch));
        rig.assert_clean();
        prop_assert_eq!((pool.available(), other.available()), (pool.len(), other.len()), "every buffer is back");
    }
}

/// Blocks of eight frames in which the place of the checksum changes, and one that lies in no frame.
#[test]
fn flows_that_alternate_have_their_own_checksums() {
    for run in 1..12 {
        let mut rig = Rig::new();
        let mut parts = rig.parts(&small().tx_ring(128));
        let (mut batch, mut wanted) = (Batch::new(96), Vec::new());
        for number in 0..96 {
            let packet = if number / run % 2 == 0 { Packet::new(TCP, false, 100) } else { Packet::new(UDP, true, 60 + number) };
            let mut frame = packet.in_pieces(&parts.pool, 2048, 2048);
            frame.set_checksum(packet.partial());
            wanted.push(by_software(&packet.bytes(), Some(packet.partial()), None));
            batch.push(frame).unwrap();
        }
        let _ = parts.tx.submit(&mut batch);
        rig.run_us(400);
        assert!(batch.is_empty() && rig.arrived() == wanted, "{run} of a flow at once");
        // Behind frames of which the sum lies just at the end comes one that ends before it.
        let place = Checksum::Partial { start: 50, offset: 8 };
        for len in [60, 60, 59 + 1] {
            let mut frame = parts.pool.frame_from(&[1; 60]).unwrap();
            frame.trim(len).unwrap();
            frame.set_checksum(place);
            batch.push(frame).unwrap();
        }
        let mut short = parts.pool.frame_from(&[1; 62]).unwrap();
        short.set_checksum(Checksum::Partial { start: 50, offset: 11 });
        batch.push(short).unwrap();
        assert!(matches!(parts.tx.submit(&mut batch), TxState::Refused(_)));
        assert_eq!((batch.len(), parts.control.accounts().tx_taken), (1, 99));
        drop((parts, batch));
        rig.assert_clean();
    }
}
