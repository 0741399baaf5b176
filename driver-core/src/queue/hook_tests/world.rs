//! Rings with cards of a few lines, a program that judges, and what is known of every frame and buffer.

use std::collections::{HashSet, VecDeque};
use std::vec;
use std::vec::Vec;

use crate::buf::batch::Batch;
use crate::buf::meta::LEN_SHIFT;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::host::dma::DmaDomain;
use crate::queue::contract::TxQueue;
use crate::queue::hook::PollWith;
use crate::queue::hook_tests::queues::{Rx, Tx};
use crate::ring::rules::{RxRules, TxRules};
use crate::ring::rx::RxRing;
use crate::ring::tx::TxRing;
use crate::ring::verdict::{FrameView, Settled, Verdict, WhenFull};
use crate::testing::{DescEnd, domain};

pub(super) const RX: RxRules = RxRules::new(0b01).with_end(0b10).with_unusual(1 << 20);
pub(super) const TX: TxRules = TxRules::new(1 << 24).with_report(1 << 27).with_done(1 << 32).with_payload_shift(46).with_lengths(60..=1514);
pub(super) const RING: u32 = 64;
pub(super) const BUFFERS: u32 = 512;
pub(super) const DATA: usize = 2048;
pub(super) const HEADROOM: u32 = 64;
/// In the number of a frame that the program made.
pub(super) const OWN: u64 = 1 << 63;

/// xorshift64*: the same numbers each time.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The card's side of a receive ring.
pub(super) struct RxCard {
    pub(super) end: DescEnd,
    pub(super) head: u32,
    /// The buffers that it has written to, by slot: their descriptors do not say it any more.
    pub(super) written: Vec<Option<u64>>,
}

/// The card's side of a transmit ring.
pub(super) struct TxCard {
    pub(super) end: DescEnd,
    pub(super) head: u32,
    /// The tail that it saw last, and the buffers in flight from there back.
    pub(super) seen: u32,
    pub(super) addresses: Vec<u64>,
}

/// Which verdict a frame asks for, by its ninth byte, and what is moved before it, by its tenth.
pub(super) fn follow(frame: &mut FrameView<'_>) -> Verdict {
    let &[verdict, moves, size, ..] = &frame.data()[8..] else { panic!("a short frame") };
    let size = usize::from(size);
    match moves {
        0 => {
            let had = frame.data()[..9].to_vec();
            if frame.push(size).is_ok() {
                frame.data_mut()[..9].copy_from_slice(&had);
            } else {
                assert!(size > frame.headroom());
            }
        }
        1 => {
            let had = frame.data()[..9].to_vec();
            if frame.len() >= size + 9 {
                frame.pull(size).unwrap();
                frame.data_mut()[..9].copy_from_slice(&had);
            }
        }
        2 => frame.trim(frame.len().saturating_sub(size).max(9)).unwrap_or(()),
        3 => match frame.put(size).map(|bytes| bytes.fill(7)) {
            Ok(()) => {}
            Err(_) => assert!(size > frame.tailroom()),
        },
        _ => {}
    }
    verdict_of(verdict)
}

pub(super) fn verdict_of(byte: u8) -> Verdict {
    match byte {
        0..=2 => Verdict::Redirect(byte),
        3 => Verdict::Tx,
        4 => Verdict::Drop,
        5 => Verdict::Abort,
        6 => Verdict::Redirect(9),
        7 => Verdict::Redirect(200),
        _ => Verdict::Pass,
    }
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) pools: [BufPool; 3],
    /// Where the first pool's buffers begin for the device, and how far they are apart.
    pub(super) first_iova: u64,
    pub(super) stride_bytes: u64,
    pub(super) rx: Rx,
    pub(super) tx: [Tx; 3],
    pub(super) rx_card: RxCard,
    pub(super) tx_cards: [TxCard; 3],
    pub(super) batch: Batch,
    /// The ids of frames that are to come out of each queue, and up.
    pub(super) wanted: [VecDeque<u64>; 4],
    /// Those of the program's own.
    pub(super) own: [VecDeque<u64>; 2],
    pub(super) id: u64,
    /// Frames that the card received, those in several buffers once.
    pub(super) received: u64,
    pub(super) bad: u64,
}

pub(super) fn pool(domain: &DmaDomain) -> BufPool {
    BufPool::new(domain, PoolConfig { buffers: BUFFERS, data_bytes: DATA as u32, headroom_bytes: HEADROOM }).unwrap()
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let (near, far) = (domain().0, domain().0);
        let pools = [pool(&near), pool(&near), pool(&far)];
        let two = [pools[0].take().unwrap(), pools[0].take().unwrap()].map(|frame| frame.iova().0);
        let (first_iova, stride_bytes) = (two[0] - u64::from(HEADROOM), two[1] - two[0]);
        let rx = Rx { ring: RxRing::new(&pools[0], RING, 5, RX).unwrap(), settled: Settled::default(), doorbells: 0, tail: RING - 1 };
        let tx = [0, 1, 2].map(|k| Tx { ring: TxRing::new(&pools[k], RING, TX, false).unwrap(), tail: 0, taken: 0, own: 0, copied: 0 });
        // SAFETY: the rings live as long as the cards.
        let end = |iova| unsafe { DescEnd::new(iova, RING) };
        let rx_card = RxCard { end: end(rx.ring.iova()), head: 0, written: vec![None; RING as usize] };
        let card = |ring: &TxRing| TxCard { end: end(ring.iova()), head: 0, seen: 0, addresses: vec![0; RING as usize] };
        let tx_cards = [card(&tx[0].ring), card(&tx[1].ring), card(&tx[2].ring)];
        let batch = Batch::new(64);
        Self {
            random: Random(seed),
            pools,
            first_iova,
            stride_bytes,
            rx,
            tx,
            rx_card,
            tx_cards,
            batch,
            wanted: Default::default(),
            own: Default::default(),
            id: 0,
            received: 0,
            bad: 0,
        }
    }

    /// The card writes a frame to the next descriptors, of one or two buffers, good or bad.
    pub(super) fn receive(&mut self, mix: u64) -> bool {
        let card = &mut self.rx_card;
        let free = self.rx.tail.wrapping_sub(card.head) & (RING - 1);
        let is_bad = self.random.below(50) == 0;
        let pieces = if self.random.below(20) == 0 { 2 } else { 1 };
        if free < pieces {
            return false;
        }
        let code = match mix {
            0 => 3,
            1 => 4,
            2 => [3, 3, 3, 4][self.random.below(4) as usize],
            3 => [4, 3, 4, 4, 5, 4, 4, 4][self.random.below(8) as usize],
            4 => 8,
            5 => 1,
            _ => self.random.below(10) as u8,
        };
        let moves = if mix > 5 && self.random.below(3) == 0 { self.random.below(4) as u8 } else { 9 };
        let len = match self.random.below(8) {
            0 => 14 + self.random.below(60),
            1 => 1400 + self.random.below(DATA as u64 - 1400 + 1),
            _ => 60 + self.random.below(200),
        };
        let mut bytes = vec![0; 14];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..11].copy_from_slice(&[code, moves, self.random.below(100) as u8]);
        for piece in 0..pieces {
            let slot = card.head;
            card.written[slot as usize] = Some(card.end.read(slot)[0]);
            // SAFETY: descriptors before the tail hold addresses of buffers that the ring lent.
            unsafe { card.end.fill(slot, if piece == 0 { &bytes } else { b"more" }) };
            let last = piece + 1 == pieces;
            let status = RX.done | if last { RX.end } else { 0 } | if last && is_bad && pieces == 1 { 1 << 20 } else { 0 };
            card.end.write(slot, [0, if piece == 0 { len } else { 4 } << LEN_SHIFT | status]);
            card.head = (card.head + 1) % RING;
        }
        self.id += 1;
        if is_bad && pieces == 1 {
            self.bad += 1;
        } else {
            self.received += 1;
            self.expect(code, pieces);
        }
        true
    }

    /// Notes where the newest frame is to come out, if everything has room.
    pub(super) fn expect(&mut self, code: u8, pieces: u32) {
        let id = self.id - 1;
        let to = match verdict_of(code) {
            _ if pieces > 1 => 3,
            Verdict::Tx => 0,
            Verdict::Redirect(queue) if queue < 3 => queue.into(),
            Verdict::Pass => 3,
            _ => return,
        };
        self.wanted[to].push_back(id);
    }

    /// A frame came out: it is one of those that are wanted there, and those before it were dropped.
    pub(super) fn came(&mut self, at: usize, bytes: &[u8]) {
        let id = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        if id & OWN != 0 {
            return assert_eq!(self.own[at].pop_front(), Some(id));
        }
        while let Some(wanted) = self.wanted[at].pop_front() {
            if wanted == id {
                return;
            }
        }
        panic!("frame {id} came out at {at}, twice or unasked");
    }

    /// The cards send up to `most` descriptors each.
    pub(super) fn send(&mut self, most: u64) {
        for k in 0..3 {
            self.look(k);
            for _ in 0..most {
                let card = &mut self.tx_cards[k];
                if card.head == self.tx[k].tail {
                    break;
                }
                let slot = card.head;
                let [iova, word] = card.end.read(slot);
                assert_eq!(iova, card.addresses[slot as usize], "the descriptor is as it was when the tail passed it");
                let len = (word & 0xffff) as usize;
                if word >> 46 == len as u64 {
                    assert!((60..=1514).contains(&len), "{len}");
                    // SAFETY: the descriptor is in flight.
                    let bytes = unsafe { card.end.gather(slot, len) };
                    if word & TX.report != 0 {
                        card.end.write(slot, [0, TX.done]);
                    }
                    card.head = (card.head + 1) % RING;
                    self.came(k, &bytes);
                } else {
                    if word & TX.report != 0 {
                        card.end.write(slot, [0, TX.done]);
                    }
                    card.head = (card.head + 1) % RING;
                }
            }
        }
    }

    /// Notes the addresses of descriptors that a card has not seen before.
    pub(super) fn look(&mut self, k: usize) {
        let card = &mut self.tx_cards[k];
        while card.seen != self.tx[k].tail {
            card.addresses[card.seen as usize] = card.end.read(card.seen)[0];
            card.seen = (card.seen + 1) % RING;
        }
    }

    /// Every buffer is in one place.
    pub(super) fn check_owners(&mut self) {
        for k in 0..3 {
            self.look(k);
        }
        let (first, stride) = (self.first_iova, self.stride_bytes);
        let mut seen = HashSet::new();
        let mut own = |iova: u64| {
            let Some(offset) = iova.checked_sub(first).filter(|&offset| offset < u64::from(BUFFERS) * stride) else { return };
            assert!(seen.insert(offset / stride), "buffer {} has two owners", offset / stride);
        };
        let (next, head) = (self.rx.ring.next(), self.rx_card.head);
        for slot in 0..RING {
            // What the card wrote and the ring has not taken lies behind `next`.
            let is_written = slot.wrapping_sub(next) & (RING - 1) < head.wrapping_sub(next) & (RING - 1);
            own(if is_written { self.rx_card.written[slot as usize].unwrap() } else { self.rx_card.end.read(slot)[0] });
        }
        for (tx, card) in self.tx.iter().zip(&self.tx_cards) {
            let pending = tx.ring.pending();
            for k in 1..=pending {
                own(card.addresses[(tx.ring.tail().wrapping_sub(k) & (RING - 1)) as usize]);
            }
        }
        for frame in self.batch.frames() {
            for (iova, _) in frame.dma_segments() {
                own(iova.0);
            }
        }
        let held = seen.len() as u32 + self.batch.cache().count(&self.pools[0]) as u32 + self.pools[0].available();
        assert_eq!(held, BUFFERS, "no buffer is lost");
    }

    pub(super) fn turn(&mut self) {
        let mix = self.random.below(9);
        for _ in 0..self.random.below(RING.into()) {
            if !self.receive(mix) {
                break;
            }
        }
        let budget = self.random.below(50) as usize;
        let when_full = if self.random.below(2) == 0 { WhenFull::Drop } else { WhenFull::HandUp };
        let [a, b, c] = &mut self.tx;
        self.rx.poll_with(&mut follow, &mut [a, b, c], when_full, &mut self.batch, budget);
        if self.random.below(3) > 0 {
            let most = self.random.below(80);
            self.send(most);
        }
        if self.random.below(4) > 0 {
            self.take_up();
        }
        if self.random.below(8) == 0 {
            self.submit();
        }
    }

    /// The program sends frames of its own, of another pool than that of the receive ring.
    pub(super) fn submit(&mut self) {
        for _ in 0..self.random.below(40) {
            let k = self.random.below(2) as usize;
            let Some(mut frame) = self.pools[1].take() else { return };
            let id = self.id | OWN;
            frame.put(60).unwrap()[..8].copy_from_slice(&id.to_le_bytes());
            if self.tx[k].hook_frame(frame).is_ok() {
                self.own[k].push_back(id);
                self.tx[k].own += 1;
            }
            self.id += 1;
        }
    }

    /// The program takes what passed.
    pub(super) fn take_up(&mut self) {
        while let Some(frame) = self.batch.pop() {
            let id = u64::from_le_bytes(frame.data()[..8].try_into().unwrap());
            // One for a queue that was full is handed up too.
            for wanted in &mut self.wanted {
                wanted.retain(|&other| other != id);
            }
            self.batch.recycle(frame);
        }
    }

    /// Every frame is in one account.
    pub(super) fn check_accounts(&mut self) {
        // What is in the ring is judged, and dropped.
        let mut drop_all = |_: &mut FrameView<'_>| Verdict::Drop;
        self.take_up();
        while self.rx.poll_with::<_, Tx>(&mut drop_all, &mut [], WhenFull::Drop, &mut self.batch, 64) > 0 {
            self.take_up();
        }
        let Settled { sent, dropped, rest, .. } = self.rx.settled;
        let settled = sent + dropped + rest.aborted + rest.redirected + rest.full_dropped + rest.no_buffer + rest.passed + rest.whole_passed;
        assert_eq!(u64::from(settled), self.received);
        let taken: u64 = self.tx.iter().map(|tx| tx.taken - tx.own).sum();
        assert_eq!(u64::from(sent + rest.redirected), taken);
        let kinds = [sent, dropped, rest.aborted, rest.redirected, rest.full_dropped, rest.passed, rest.whole_passed, rest.full - rest.full_dropped];
        assert!(cfg!(miri) || kinds.iter().all(|&kind| kind > 0), "{:?}", self.rx.settled);
        assert!(self.tx[2].copied > 0 || cfg!(miri), "a queue of another domain gets copies");
    }

    /// Ends it all: what is pending is sent, and the pools are full again.
    pub(super) fn end(mut self) {
        self.send(u64::MAX);
        self.take_up();
        let pools = self.pools.clone();
        self.release();
        for pool in &pools {
            assert_eq!(pool.available(), BUFFERS);
        }
    }

    /// Takes the rings apart.
    pub(super) fn release(self) {
        let Self { rx, tx, batch, .. } = self;
        drop(batch);
        // SAFETY: the cards are at rest.
        unsafe { rx.ring.release() };
        for tx in tx {
            // SAFETY: as above.
            unsafe { tx.ring.release() };
        }
    }
}

/// A world whose card has received `frames` ordinary frames that ask for that verdict.
pub(super) fn world_with(frames: u64, code: u8) -> World {
    let mut world = World::new(7);
    for _ in 0..frames {
        let (slot, card) = (world.rx_card.head, &mut world.rx_card);
        card.written[slot as usize] = Some(card.end.read(slot)[0]);
        let mut bytes = [0; 11];
        bytes[..8].copy_from_slice(&world.id.to_le_bytes());
        (bytes[8], bytes[9]) = (code, 9);
        // SAFETY: the descriptor holds the address of a buffer that the ring lent.
        unsafe { card.end.fill(slot, &bytes) };
        card.end.write(slot, [0, 60 << LEN_SHIFT | RX.done | RX.end]);
        card.head = (slot + 1) % RING;
        world.id += 1;
        world.received += 1;
        world.expect(code, 1);
    }
    world
}

/// Where the first pool's buffers are, by counts alone.
pub(super) struct Places {
    pub(super) available: u32,
    pub(super) held: u32,
}

impl Places {
    pub(super) fn of(world: &World) -> Self {
        let held = RING + world.tx[0].ring.pending() + world.batch.cache().count(&world.pools[0]) as u32;
        Self { available: world.pools[0].available(), held }
    }
}
