//! Where a run over frames of several buffers stops, and what it leaves there.

use std::vec::Vec;

use super::RX;
use crate::buf::batch::Batch;
use crate::buf::meta::LEN_SHIFT;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::rx::{Begun, RxRing};
use crate::testing::{DescEnd, domain};

const RING: u32 = 64;

struct Rig {
    pool: BufPool,
    ring: RxRing,
    card: DescEnd,
    head: u32,
    batch: Batch,
}

impl Rig {
    fn new(spare: u32) -> Self {
        let pool = BufPool::new(&domain().0, PoolConfig::new(RING + spare)).unwrap();
        let ring = RxRing::new(&pool, RING, 0, RX).unwrap();
        // SAFETY: the ring outlives it.
        let card = unsafe { DescEnd::new(ring.iova(), RING) };
        Self { pool, ring, card, head: 0, batch: Batch::new(32) }
    }

    /// The device fills buffers with so many bytes each, and says of the last that the frame ends, if it does.
    fn fill(&mut self, lens: &[u64], ends: bool) {
        for (k, &len) in lens.iter().enumerate() {
            let end = if ends && k + 1 == lens.len() { RX.end } else { 0 };
            self.card.write(self.head, [0, len << LEN_SHIFT | RX.done | end]);
            self.head = (self.head + 1) % RING;
        }
    }

    fn take(&mut self, most: usize, max_segments: usize, max_bytes: usize) -> (usize, Option<Begun>) {
        let mut begun = None;
        let frames = self.ring.take_chains(&mut self.batch, most, &mut begun, max_segments, max_bytes, 0, 0);
        (frames, begun)
    }

    fn taken(&mut self) -> Vec<Vec<usize>> {
        core::iter::from_fn(|| self.batch.pop()).map(|frame| frame.segments().map(<[u8]>::len).collect()).collect()
    }

    /// Nothing is lost, and nothing is owned twice.
    fn end(self, begun: Option<Begun>) {
        let Self { pool, ring, mut batch, .. } = self;
        drop(begun);
        batch.clear();
        drop(batch);
        assert_eq!(pool.available() + RING, pool.inner().buffers);
        // SAFETY: the card of these tests writes no more.
        unsafe { ring.release() };
        assert_eq!(pool.available(), pool.inner().buffers);
    }
}

/// What a run left of a frame: segments, bytes, and whether its end came.
fn left(begun: &Option<Begun>) -> Option<(usize, usize, bool)> {
    begun.as_ref().map(|begun| (begun.chain.segments, begun.chain.bytes, begun.ends))
}

#[test]
fn one_after_another_round_the_rings_end_until_the_batch_has_enough() {
    let mut rig = Rig::new(200);
    for _ in 0..7 {
        for first in 1..=5 {
            rig.fill(&[2048, 2048, first], true);
        }
        assert!(rig.ring.has_chain());
        let (frames, begun) = rig.take(4, 40, 9000);
        assert_eq!((frames, left(&begun)), (4, None));
        assert_eq!(rig.taken(), (1..=4).map(|first| [2048, 2048, first]).collect::<Vec<_>>());
        let (frames, begun) = rig.take(10, 40, 9000);
        assert_eq!((frames, left(&begun), rig.ring.has_chain()), (1, None, false));
        assert_eq!(rig.taken(), [[2048, 2048, 5]]);
    }
    rig.end(None);
}

#[test]
fn what_came_of_a_frame_is_kept_and_nothing_is_ordinary_until_its_end() {
    let mut rig = Rig::new(200);
    rig.fill(&[100, 10], true);
    rig.fill(&[2048, 2048], false);
    let (frames, begun) = rig.take(10, 40, 9000);
    assert_eq!((frames, left(&begun)), (1, Some((2, 4096, false))));
    rig.fill(&[60], true);
    assert!(rig.ring.is_ready() && !rig.ring.has_chain() && !rig.ring.take_plain(&mut rig.batch), "it is the frame's end");
    assert_eq!(rig.taken(), [[100, 10]]);
    rig.end(begun);
}

#[test]
fn a_frame_of_one_buffer_ends_the_run_and_stays() {
    let mut rig = Rig::new(200);
    rig.fill(&[100, 10], true);
    rig.fill(&[60], true);
    let (frames, begun) = rig.take(10, 40, 9000);
    assert_eq!((frames, left(&begun), rig.ring.next()), (1, None, 2));
    assert!(rig.ring.take_plain(&mut rig.batch));
    assert_eq!(rig.taken(), [&[100, 10][..], &[60]]);
    rig.end(begun);
}

#[test]
fn a_frame_of_too_many_bytes_is_told_with_its_end() {
    let mut rig = Rig::new(200);
    rig.fill(&[2000, 2000, 1000], true);
    rig.fill(&[2000, 2000, 1001], true);
    rig.fill(&[100, 10], true);
    let (frames, begun) = rig.take(10, 40, 5000);
    assert_eq!((frames, left(&begun)), (1, Some((3, 5001, true))));
    assert!(rig.ring.has_chain(), "the next frame is as any other");
    rig.end(begun);
}

#[test]
fn a_frame_of_too_many_segments_is_told_without_its_end() {
    for (max, taken) in [(0, 0), (1, 0), (2, 1), (5, 4), (40, 39), (64, 39)] {
        let mut rig = Rig::new(200);
        rig.fill(&[64; 50], true);
        let (frames, begun) = rig.take(10, max, usize::MAX);
        let segments = left(&begun).map_or(0, |(segments, _, ends)| segments * usize::from(!ends));
        assert_eq!((frames, segments), (0, taken), "{max}");
        rig.end(begun);
    }
}

#[test]
fn without_empty_buffers_nothing_is_taken_and_with_few_what_they_suffice_for() {
    for spare in 0..8 {
        let mut rig = Rig::new(spare + 1);
        let held = rig.pool.take();
        rig.fill(&[64, 64, 64], true);
        rig.fill(&[64, 64, 64], true);
        let (frames, begun) = rig.take(10, 40, 9000);
        let (frames, segments) = (frames as u32, left(&begun).map_or(0, |(segments, ..)| segments as u32));
        // One more than there are is kept back for an end.
        assert_eq!((frames, segments), ((spare / 3).min(2), if spare < 6 { (spare % 3).saturating_sub(1) } else { 0 }), "{spare}");
        assert_eq!(rig.ring.next(), 3 * frames + segments);
        drop(held);
        rig.end(begun);
    }
}

/// A length beyond a buffer is the scalar way's to tell.
#[test]
fn a_length_beyond_its_buffer_stays_in_the_ring() {
    for at in 0..3 {
        let mut rig = Rig::new(200);
        let mut lens = [64; 3];
        lens[at] = 2049;
        rig.fill(&lens, true);
        let (frames, begun) = rig.take(10, 40, 9000);
        assert_eq!((frames, left(&begun).map_or(0, |(segments, ..)| segments), rig.ring.next()), (0, at, at as u32));
        rig.end(begun);
    }
}

/// The way for one frame takes what the other takes, or leaves it where it is.
#[test]
fn the_way_for_one_frame_needs_as_many_empty_buffers_as_one_may_have() {
    let mut rig = Rig::new(200);
    rig.fill(&[100, 10], true);
    let mut begun = None;
    assert!(!rig.ring.take_chain(&mut rig.batch, &mut begun, 40, 9000, 0, 0) && begun.is_none() && rig.ring.next() == 0);
    rig.batch.stock(&rig.pool, 40);
    assert!(rig.ring.take_chain(&mut rig.batch, &mut begun, 40, 9000, 0, 0) && begun.is_none());
    assert_eq!(rig.taken(), [[100, 10]]);
    rig.fill(&[100, 100], false);
    assert!(!rig.ring.take_chain(&mut rig.batch, &mut begun, 40, 9000, 0, 0));
    assert_eq!(left(&begun), Some((2, 200, false)));
    rig.end(begun);
}
