//! Packed queues against a device of a few lines.

use std::vec::Vec;

use proptest::prelude::*;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::meta::L4_CHECKED;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::fault::QueueFault;
use crate::ring::packed::{PackedQueue, PackedRx, PackedTx};
use crate::ring::split::{F_WRITE, HEADER_BYTES, HookRules};
use crate::testing::{PackedChain, PackedEnd, domain};

const SIZE: u16 = 16;
/// Frames of 14 to 1,600 bytes in one buffer, of which nothing is known but that the checksum is good.
const RULES: HookRules =
    HookRules { used_bytes: (26, 1612), clear: 1 | 0xff << 8, looked_at: 0xffff << 16, wanted: 1 << 16, known: 2, known_shift: 4 };

struct Receive {
    pool: BufPool,
    rx: PackedRx<HEADER_BYTES>,
    card: PackedEnd,
    /// What the card has, oldest first.
    lent: Vec<PackedChain>,
    batch: Batch,
}

impl Receive {
    fn new(buffers: u32) -> Self {
        let domain = domain().0;
        let pool = BufPool::new(&domain, PoolConfig::new(buffers)).unwrap();
        let rx = PackedRx::new(PackedQueue::new(&domain, SIZE, false).unwrap(), &pool).unwrap();
        // SAFETY: the queue outlives every use of the card.
        let card = unsafe { PackedEnd::new(rx.queue()) };
        let mut receive = Self { pool, rx, card, lent: Vec::new(), batch: Batch::new(64) };
        receive.look();
        assert_eq!(receive.lent.len(), SIZE.into());
        receive
    }

    fn look(&mut self) {
        let chains = self.card.next_chains();
        assert!(chains.iter().all(|chain| chain.pieces.len() == 1 && chain.pieces[0].1 == 2060 && chain.pieces[0].2 == F_WRITE));
        self.lent.extend(chains);
    }

    /// The card receives a frame of `len` bytes of `number` in the buffer that it has had `nth` longest.
    fn receive(&mut self, nth: usize, number: u8, len: usize, flags: u8) {
        let chain = self.lent.remove(nth);
        let header = [flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        // SAFETY: the buffer is the card's, of 2,060 bytes.
        unsafe {
            self.card.write(chain.pieces[0].0, 0, &header);
            self.card.write(chain.pieces[0].0, HEADER_BYTES, &std::vec![number; len]);
        }
        self.card.use_one(chain.ids[0], (HEADER_BYTES + len) as u32, 1, if number.is_multiple_of(2) { F_WRITE } else { 0 });
    }

    fn poll(&mut self, count: usize) -> (usize, u64) {
        let covered = self.rx.covered(&mut self.batch, count);
        self.rx.take_ordinary(&mut self.batch, covered, &RULES)
    }

    /// What came up, as numbers and lengths.
    fn came(&self) -> Vec<(u8, usize)> {
        let check = |frame: &Frame| {
            assert!(frame.data().iter().all(|byte| *byte == frame.data()[0]));
            (frame.data()[0], frame.len())
        };
        self.batch.frames().iter().map(check).collect()
    }

    fn end(self) {
        let Self { pool, rx, batch, .. } = self;
        drop(batch);
        // SAFETY: the card of this test writes no more.
        unsafe { rx.release() };
        assert_eq!(pool.available(), pool.len());
    }
}

proptest! {
    #![proptest_config(crate::testing::cases())]
    /// The block way and the single one against what the card did: every frame comes up, in the order in which it was used, with its bytes, length and verdict, whatever
    /// the order in which the card uses buffers, and no buffer is in two places.
    #[test]
    fn every_frame_comes_up_as_it_was_received(
        rounds in prop::collection::vec((prop::collection::vec((0..4usize, 14..1600usize, prop::sample::select(std::vec![0u8, 0, 0, 2, 1])), 0..=16), 1..40usize), 1..12),
        disorder in prop::bool::weighted(0.3),
    ) {
        let mut receive = Receive::new(128);
        let mut number = 0u8;
        for (frames, at_once) in rounds {
            let mut expected = Vec::new();
            for (nth, len, flags) in frames {
                if receive.lent.is_empty() {
                    break;
                }
                let nth = if disorder { nth.min(receive.lent.len() - 1) } else { 0 };
                receive.receive(nth, number, len, flags);
                expected.push((number, len, flags));
                number = number.wrapping_add(1);
            }
            let mut came = Vec::new();
            while came.len() < expected.len() {
                let done = receive.poll(at_once).0;
                let mut frames: Vec<Frame> = core::iter::from_fn(|| receive.batch.pop()).collect();
                prop_assert_eq!(frames.len(), done);
                if done == 0 {
                    prop_assert_eq!(receive.rx.covered(&mut receive.batch, 1), 1);
                    let taken = receive.rx.take(&mut receive.batch).unwrap().unwrap();
                    let mut frame = taken.frame;
                    frame.set_received([0, u64::from(taken.used_bytes - HEADER_BYTES as u32) << 32]).unwrap();
                    frames.push(frame);
                }
                for frame in frames {
                    let (number, len, flags) = expected[came.len()];
                    prop_assert!(frame.len() == len && frame.data().iter().all(|&byte| byte == number), "{number}");
                    if done > 0 {
                        prop_assert_eq!(flags & 1, 0, "a partial checksum is unusual");
                        prop_assert_eq!(frame.view_words()[1] & L4_CHECKED != 0, flags & 2 != 0);
                    }
                    came.push(());
                    receive.batch.recycle(frame);
                }
                receive.rx.publish();
                receive.look();
                let mut places: Vec<u64> = receive.lent.iter().map(|chain| chain.pieces[0].0.0).collect();
                places.sort_unstable();
                places.dedup();
                prop_assert_eq!(places.len(), receive.lent.len(), "no buffer twice");
            }
            prop_assert!(!receive.rx.is_ready() && receive.rx.take(&mut receive.batch).unwrap().is_none());
            prop_assert_eq!(receive.lent.len(), usize::from(SIZE));
        }
        receive.end();
    }
}

#[test]
fn what_is_taken_is_lent_anew_when_it_is_published() {
    let mut receive = Receive::new(64);
    (0..10).for_each(|number| receive.receive(0, number, 60, 0));
    assert_eq!((receive.rx.ready(), receive.poll(64)), (10, (10, 600)));
    assert_eq!(receive.came(), (0..10).map(|number| (number, 60)).collect::<Vec<_>>());
    receive.look();
    assert_eq!(receive.lent.len(), 6, "the card sees nothing yet");
    assert!(receive.rx.publish());
    receive.look();
    assert_eq!(receive.lent.len(), 16);
    receive.batch.clear();
    // The way of one frame publishes by itself.
    receive.receive(0, 99, 60, 0);
    let (rx, batch) = (&mut receive.rx, &mut receive.batch);
    assert_eq!(rx.take_only(batch, &RULES), Some(60));
    assert_eq!(rx.take_only(batch, &RULES), None);
    assert!(rx.publish() && receive.came() == [(99, 60)]);
    receive.look();
    assert_eq!(receive.lent.len(), 16);
    receive.end();
}

#[test]
fn a_buffer_that_comes_twice_before_it_is_lent_anew_is_a_fault() {
    for ids in [[3, 3], [3, 16], [3, 0xffff]] {
        let mut receive = Receive::new(64);
        (0..3).for_each(|number| receive.receive(0, number, 60, 0));
        assert_eq!(receive.poll(64).0, 3);
        receive.rx.publish();
        receive.receive(0, 3, 60, 0);
        receive.card.use_one(ids[1], 72, 1, 0);
        assert_eq!(receive.poll(64).0, 1, "the honest one");
        assert!(receive.rx.covered(&mut receive.batch, 1) == 1);
        assert_eq!(receive.rx.take(&mut receive.batch).unwrap_err(), QueueFault::Index { index: ids[1].into(), limit: 16 });
        receive.end();
    }
}

#[test]
fn lengths_beyond_the_buffer_reach_nobody() {
    for len in [2061, 0xffff, 0x1_0000 + 72, u32::MAX] {
        let mut receive = Receive::new(64);
        (0..9).for_each(|number| receive.receive(0, number, 60, 0));
        receive.card.use_one(9, len, 1, F_WRITE);
        (10..16).for_each(|id| receive.card.use_one(id, 72, 1, 0));
        assert_eq!(receive.poll(64).0, 9, "{len}");
        assert_eq!(receive.rx.covered(&mut receive.batch, 1), 1);
        assert!(matches!(receive.rx.take(&mut receive.batch), Err(QueueFault::Length { slot: 9, len_bytes, max_bytes: 2060 }) if len_bytes == len));
        receive.end();
    }
}

#[test]
fn a_receive_queue_without_empty_buffers_takes_nothing_and_loses_nothing() {
    let mut receive = Receive::new(u32::from(SIZE) + 2);
    (0..8).for_each(|number| receive.receive(0, number, 60, 0));
    assert_eq!(receive.poll(64), (2, 120));
    assert_eq!(receive.poll(64), (0, 0));
    assert!(receive.rx.take(&mut receive.batch).unwrap().is_none() && receive.rx.is_ready());
    receive.batch.clear();
    assert_eq!(receive.poll(64), (2, 120));
    assert_eq!(receive.came(), [(2, 60), (3, 60)]);
    receive.end();
}

#[test]
fn a_receive_queue_starts_anew_with_every_buffer_that_it_has() {
    let mut receive = Receive::new(64);
    (0..7).for_each(|number| receive.receive(0, number, 60, 0));
    assert_eq!(receive.poll(3).0, 3);
    // SAFETY: the card of this test was reset.
    unsafe { receive.rx.rewind() };
    // SAFETY: the queue outlives every use of the card.
    receive.card = unsafe { PackedEnd::new(receive.rx.queue()) };
    receive.lent.clear();
    receive.look();
    assert_eq!((receive.lent.len(), receive.rx.ready()), (16, 0));
    receive.batch.clear();
    (0..16).for_each(|number| receive.receive(0, number, 60, 0));
    assert_eq!(receive.poll(64).0, 16);
    receive.end();
}

struct Send {
    pool: BufPool,
    tx: PackedTx<HEADER_BYTES>,
    card: PackedEnd,
    /// What the card has, oldest first.
    taken: Vec<PackedChain>,
    batch: Batch,
}

impl Send {
    fn new(indirect: bool) -> Self {
        let domain = domain().0;
        let pool = BufPool::new(&domain, PoolConfig::new(128)).unwrap();
        let tx = PackedTx::new(PackedQueue::new(&domain, SIZE, true).unwrap(), &domain, &pool, if indirect { 16 } else { 0 }).unwrap();
        // SAFETY: the queue outlives every use of the card.
        let card = unsafe { PackedEnd::new(tx.queue()) };
        Self { pool, tx, card, taken: Vec::new(), batch: Batch::new(64) }
    }

    fn push(&mut self, number: u8, len: usize) {
        self.batch.push(self.pool.frame_from(&std::vec![number; len]).unwrap()).unwrap();
    }

    /// A frame of `pieces` buffers.
    fn chain(&self, number: u8, pieces: usize) -> Frame {
        let mut frame = self.pool.frame_from(&[number; 40]).unwrap();
        (1..pieces).for_each(|_| frame.append(self.pool.frame_from(&[number; 10]).unwrap()));
        frame
    }

    /// The card takes what is there. Returns the bytes of each frame.
    fn take(&mut self) -> Vec<Vec<u8>> {
        self.tx.publish();
        let chains = self.card.next_chains();
        assert!(chains.iter().all(|chain| chain.ids.iter().all(|id| *id == chain.ids[0])), "the ID is in each descriptor");
        // SAFETY: the card has them.
        let bytes = chains.iter().map(|chain| unsafe { self.card.gather(chain) }[HEADER_BYTES..].to_vec()).collect();
        self.taken.extend(chains);
        bytes
    }

    /// The card gives back the chain that it has had `nth` longest. What it says of the length means nothing.
    fn give_back(&mut self, nth: usize) {
        let chain = self.taken.remove(nth);
        self.card.use_one(chain.ids[0], 0xdead_beef, chain.ids.len() as u16, 1 | F_WRITE);
    }

    fn end(self) {
        let Self { pool, tx, batch, .. } = self;
        drop(batch);
        // SAFETY: the card of this test reads no more.
        unsafe { tx.release() };
        assert_eq!(pool.available(), pool.len());
    }
}

proptest! {
    #![proptest_config(crate::testing::cases())]
    /// What is put reaches the card whole and in order, by blocks, alone and in chains; what comes back frees its descriptors, in whatever order it comes.
    #[test]
    fn every_frame_goes_out_once_and_comes_back_once(
        rounds in prop::collection::vec((0..20usize, 1..5usize, prop::collection::vec(0..16usize, 0..16)), 1..12),
        indirect: bool,
        disorder in prop::bool::weighted(0.3),
    ) {
        let mut send = Send::new(indirect);
        let mut number = 0u8;
        for (plain, pieces, back) in rounds {
            let mut expected = Vec::new();
            for _ in 0..plain {
                send.push(number, 60 + usize::from(number));
                expected.push(std::vec![number; 60 + usize::from(number)]);
                number = number.wrapping_add(1);
            }
            let free = send.tx.free();
            let (done, bytes) = send.tx.put_ordinary(&mut send.batch, 60, 1514);
            prop_assert!(done == plain.min(free) || disorder && done == 0);
            prop_assert_eq!(bytes, expected[..done].iter().map(|frame| frame.len() as u64).sum::<u64>());
            expected.truncate(done);
            while let Some(frame) = send.batch.pop() {
                send.batch.recycle(frame);
            }
            let frame = send.chain(number, pieces);
            let needed = send.tx.descriptors(&frame);
            prop_assert_eq!(needed, if indirect || pieces == 1 { 1 } else { pieces });
            let (fits, bytes) = (needed <= send.tx.free(), (0..frame.len()).map(|_| number).collect::<Vec<u8>>());
            match send.tx.put(frame, [0; HEADER_BYTES]) {
                Ok(()) => expected.push(bytes),
                Err(frame) => send.batch.recycle(frame),
            }
            prop_assert_eq!(expected.len(), done + usize::from(fits));
            number = number.wrapping_add(1);
            prop_assert_eq!(send.take(), expected);
            let pending = send.taken.iter().map(|chain| chain.ids.len()).sum::<usize>();
            prop_assert_eq!(send.tx.pending(), pending);
            let mut freed = 0;
            for nth in back {
                if !send.taken.is_empty() {
                    let nth = if disorder { nth.min(send.taken.len() - 1) } else { 0 };
                    freed += send.taken[nth].ids.len();
                    send.give_back(nth);
                }
            }
            prop_assert_eq!(send.tx.pending_frames(), send.taken.len());
            let (used, end) = send.tx.watch().load();
            prop_assert_eq!(usize::from(end.wrapping_sub(used)), pending - freed, "what another thread sees");
            prop_assert_eq!(send.tx.reclaim(&mut send.batch).unwrap().descriptors as usize, freed);
            prop_assert_eq!((send.tx.pending(), send.tx.pending_frames()), (pending - freed, send.taken.len()));
            send.batch.release_spares();
        }
        send.end();
    }
}

#[test]
fn one_frame_at_a_time_goes_at_once_as_long_as_it_is_allowed() {
    let mut send = Send::new(true);
    send.push(1, 60);
    assert_eq!(send.tx.put_only(&mut send.batch, 60, 1514), None, "nobody allowed it");
    assert_eq!(send.tx.put_ordinary(&mut send.batch, 60, 1514), (1, 60));
    assert_eq!(send.take(), [[1; 60]]);
    send.tx.allow_singles(10, 31);
    for number in 2..7 {
        send.push(number, 60);
        assert_eq!(send.tx.put_only(&mut send.batch, 60, 1514), Some(60));
        assert_eq!(send.take(), [[number; 60]]);
    }
    send.push(7, 60);
    assert_eq!(send.tx.put_only(&mut send.batch, 60, 1514), None, "ten are to stay free");
    send.end();
}

#[test]
fn buffers_that_were_not_sent_are_faults_and_none_is_lost() {
    for id in [3, 15, 16, 0xffff] {
        let mut send = Send::new(true);
        (0..3).for_each(|number| send.push(number, 60));
        send.tx.put_ordinary(&mut send.batch, 60, 1514);
        send.take();
        send.give_back(0);
        send.card.use_one(id, 0, 1, 0);
        assert_eq!(send.tx.reclaim(&mut send.batch), Err(QueueFault::Index { index: id.into(), limit: 16 }));
        assert_eq!(send.tx.pending(), 2);
        send.end();
    }
    // The same one twice; and one where nothing is in flight at all.
    let mut send = Send::new(true);
    send.push(0, 60);
    send.push(1, 60);
    send.tx.put_ordinary(&mut send.batch, 60, 1514);
    send.take();
    send.card.use_one(0, 0, 1, 0);
    send.card.use_one(0, 0, 1, 0);
    assert_eq!(send.tx.reclaim(&mut send.batch), Err(QueueFault::Index { index: 0, limit: 16 }));
    send.end();
    let mut send = Send::new(true);
    send.card.use_one(5, 0, 1, 0);
    assert_eq!(send.tx.reclaim(&mut send.batch), Err(QueueFault::Index { index: 5, limit: 16 }));
    send.end();
}

#[test]
fn a_transmit_queue_starts_anew_and_gives_back_what_was_in_flight() {
    for indirect in [false, true] {
        let mut send = Send::new(indirect);
        for round in 0..3 {
            (0..5).for_each(|number| send.push(number, 60));
            assert_eq!(send.tx.put_ordinary(&mut send.batch, 60, 1514), (5, 300));
            send.tx.put(send.chain(9, 3), [0; HEADER_BYTES]).unwrap();
            assert_eq!(send.take().len(), 6, "round {round}");
            send.give_back(0);
            // SAFETY: the card of this test was reset.
            let back = unsafe { send.tx.rewind(&mut send.batch) };
            assert_eq!((back.descriptors, back.bytes), (if indirect { 6 } else { 8 }, 60));
            assert_eq!((send.tx.free(), send.tx.pending(), send.tx.pending_frames()), (16, 0, 0));
            // SAFETY: the queue outlives every use of the card.
            send.card = unsafe { PackedEnd::new(send.tx.queue()) };
            send.taken.clear();
        }
        send.end();
    }
}
