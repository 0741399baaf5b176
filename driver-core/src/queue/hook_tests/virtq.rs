//! Hooks over virtqueues of either layout.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::host::dma::Iova;
use crate::queue::hook::PollWith;
use crate::queue::hook_tests::virtq_layouts::{End, Given, Layout, Packed, RxLike, Split, TxLike};
use crate::queue::hook_tests::virtq_queues::{Rx, Tx};
use crate::ring::split::HEADER_BYTES;
use crate::ring::verdict::{FrameView, Settled, Verdict, WhenFull};
use crate::testing::{SplitEnd, device_ptr, domain};

pub(super) const SIZE: u16 = 32;
const BUFFERS: u32 = 256;

struct World<L: Layout> {
    state: u64,
    pools: [BufPool; 2],
    first_iova: u64,
    stride_bytes: u64,
    rx: Rx<L::Rx>,
    tx: [Tx<L::Tx>; 2],
    rx_card: <L::Rx as RxLike>::End,
    /// Descriptors that the card may fill.
    available: VecDeque<Given>,
    tx_cards: [<L::Tx as TxLike>::End; 2],
    /// Those in flight of each queue, by address, oldest first, with their numbers of descriptors, and how many the card has not used.
    in_flight: [VecDeque<(u16, u64, usize)>; 2],
    unused: [usize; 2],
    batch: Batch,
    wanted: [VecDeque<u64>; 3],
    id: u64,
}

impl<L: Layout> World<L>
where
    L::Rx: Send,
    L::Tx: Send,
{
    fn new(seed: u64) -> Self {
        let domain = domain().0;
        let pools = [0, 1].map(|_| BufPool::new(&domain, PoolConfig::new(BUFFERS)).unwrap());
        let two = [pools[0].take().unwrap(), pools[0].take().unwrap()].map(|frame| frame.iova().0);
        let (ring, rx_card) = L::Rx::make(&domain, &pools[0]);
        let rx = Rx { ring, settled: Settled::default(), fault: None };
        let [(a, a_card), (b, b_card)] = [0, 1].map(|k| L::Tx::make(&domain, &pools[k]));
        let tx = [a, b].map(|ring| Tx { ring, taken: 0, bytes: 0 });
        let tx_cards = [a_card, b_card];
        let batch = Batch::new(64);
        let (first_iova, stride_bytes) = (two[0] - u64::from(pools[0].headroom_bytes()), two[1] - two[0]);
        Self {
            state: seed,
            pools,
            first_iova,
            stride_bytes,
            rx,
            tx,
            rx_card,
            available: VecDeque::new(),
            tx_cards,
            in_flight: Default::default(),
            unused: [0; 2],
            batch,
            wanted: Default::default(),
            id: 0,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }

    /// The card fills a buffer with a frame that asks for a verdict, ordinary or not; what it says of it is not seen before `publish`.
    fn receive(&mut self, code: u8, moves: u8, len: usize, flags: u8) -> bool {
        self.available.extend(self.rx_card.next(false));
        let Some(Given { id, pieces, .. }) = self.available.pop_front() else { return false };
        let (iova, lent) = pieces[0];
        assert!(lent as usize >= len + HEADER_BYTES);
        let mut bytes = [0; HEADER_BYTES + 14];
        (bytes[0], bytes[10]) = (flags, 1);
        bytes[12..20].copy_from_slice(&self.id.to_le_bytes());
        (bytes[20], bytes[21], bytes[22]) = (code, moves, 5);
        // SAFETY: the buffer was lent, and is longer.
        unsafe { device_ptr(Iova(iova)).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.rx_card.use_one(id, (len + HEADER_BYTES) as u32, 1);
        let to = match verdict_of(code) {
            Verdict::Tx => Some(0),
            Verdict::Redirect(1) => Some(1),
            Verdict::Pass => Some(2),
            _ => None,
        };
        if let Some(to) = to {
            self.wanted[to].push_back(self.id);
        }
        self.id += 1;
        true
    }

    fn receive_some(&mut self, mix: u64, most: u64) {
        for _ in 0..most {
            let code = match mix {
                0 => 0,
                1 => 2,
                2 => 3,
                3 => 1,
                _ => self.below(6) as u8,
            };
            let moves = if mix > 3 { self.below(12) as u8 } else { 9 };
            let len = match self.below(6) {
                0 => 14 + self.below(50),
                1 => 1500 + self.below(500),
                _ => 60 + self.below(300),
            };
            let flags = [0, 0, 0, 2, 1][self.below(5) as usize];
            if !self.receive(code, moves, len as usize, flags) {
                break;
            }
        }
        self.rx_card.publish();
    }

    fn poll(&mut self, budget: usize, when_full: WhenFull) -> usize {
        let [a, b] = &mut self.tx;
        let judged = self.rx.poll_with(&mut follow, &mut [a, b], when_full, &mut self.batch, budget);
        self.look();
        judged
    }

    /// Notes what was made available to the transmit cards.
    fn look(&mut self) {
        for k in 0..2 {
            for Given { id, pieces, bytes } in self.tx_cards[k].next(true) {
                let all: u32 = pieces.iter().map(|piece| piece.1).sum();
                assert!((72..=1526).contains(&all), "{pieces:?}");
                if let [header, _] = pieces[..] {
                    // The header lies apart, since the frame has no room for it.
                    assert_eq!(header.1 as usize, HEADER_BYTES);
                }
                self.in_flight[k].push_back((id, pieces[pieces.len() - 1].0, pieces.len()));
                self.unused[k] += 1;
                assert_eq!(bytes[..HEADER_BYTES], [0; HEADER_BYTES], "the header asks for nothing");
                self.came(k, u64::from_le_bytes(bytes[12..20].try_into().unwrap()));
            }
        }
    }

    fn came(&mut self, at: usize, id: u64) {
        while let Some(wanted) = self.wanted[at].pop_front() {
            if wanted == id {
                return;
            }
        }
        panic!("frame {id} came out at {at}, twice or unasked");
    }

    /// The cards send, oldest first.
    fn send(&mut self, most: usize) {
        for k in 0..2 {
            for _ in 0..most.min(self.unused[k]) {
                let (id, _, descriptors) = self.in_flight[k][self.in_flight[k].len() - self.unused[k]];
                self.tx_cards[k].use_one(id, 0, descriptors as u16);
                self.unused[k] -= 1;
            }
            self.tx_cards[k].publish();
        }
    }

    fn take_up(&mut self) {
        while let Some(frame) = self.batch.pop() {
            let id = u64::from_le_bytes(frame.data()[..8].try_into().unwrap());
            self.wanted.iter_mut().for_each(|wanted| wanted.retain(|&other| other != id));
            self.batch.recycle(frame);
        }
    }

    fn check_owners(&mut self) {
        let (first, stride) = (self.first_iova, self.stride_bytes);
        let mut seen = HashSet::new();
        let mut own = |iova: u64| {
            let number = (iova - first) / stride;
            assert!(iova >= first && number < BUFFERS.into() && seen.insert(number), "buffer {number} has two owners, or is of another pool");
        };
        (0..SIZE).for_each(|id| own(self.rx_card.address(id)));
        for (k, tx) in self.tx.iter().enumerate() {
            let mut pending = tx.ring.in_flight();
            // They come back in order.
            for &(_, iova, descriptors) in self.in_flight[k].iter().rev() {
                if pending == 0 {
                    break;
                }
                pending -= descriptors;
                own(iova);
            }
        }
        for frame in self.batch.frames() {
            own(frame.iova().0);
        }
        let held = seen.len() as u32 + self.batch.cache().count(&self.pools[0]) as u32 + self.pools[0].available();
        assert_eq!(held, BUFFERS, "no buffer is lost");
    }

    fn check_accounts(&self, received: u64) {
        let Settled { sent, dropped, rest, .. } = self.rx.settled;
        let settled = sent + dropped + rest.aborted + rest.redirected + rest.full_dropped + rest.no_buffer + rest.passed + rest.whole_passed;
        assert_eq!(u64::from(settled), received, "{:?}", self.rx.settled);
        assert_eq!(u64::from(sent + rest.redirected), self.tx[0].taken + self.tx[1].taken);
    }

    fn end(self) {
        let pools = self.pools.clone();
        self.release();
        pools.iter().for_each(|pool| assert_eq!(pool.available(), BUFFERS));
    }

    /// Takes the queues apart.
    fn release(self) {
        let Self { rx, tx, batch, .. } = self;
        drop(batch);
        // SAFETY: the cards are at rest.
        unsafe { rx.ring.end() };
        for tx in tx {
            // SAFETY: as above.
            unsafe { tx.ring.end() };
        }
    }
}

fn verdict_of(byte: u8) -> Verdict {
    match byte {
        0 => Verdict::Tx,
        1 => Verdict::Redirect(1),
        2 => Verdict::Drop,
        4 => Verdict::Abort,
        5 => Verdict::Redirect(7),
        _ => Verdict::Pass,
    }
}

/// The verdict by the ninth byte; by the tenth, the start or the end are moved.
fn follow(frame: &mut FrameView<'_>) -> Verdict {
    let had: [u8; 9] = frame.data()[..9].try_into().unwrap();
    match frame.data()[9] {
        0 => drop(frame.push(20)),
        1 if frame.len() > 90 => frame.pull(20).unwrap(),
        2 => frame.trim(frame.len() - 1).unwrap(),
        3 => drop(frame.put(9)),
        // So much that no header fits before it.
        4 => drop(frame.push(frame.headroom() - 4)),
        _ => {}
    }
    frame.data_mut()[..9].copy_from_slice(&had);
    verdict_of(had[8])
}

#[test]
fn every_buffer_has_one_owner_whatever_the_verdicts() {
    one_owner::<Split>();
}

#[test]
fn every_buffer_of_packed_queues_has_one_owner_whatever_the_verdicts() {
    one_owner::<Packed>();
}

fn one_owner<L: Layout<Rx: Send, Tx: Send>>() {
    let wanted = match std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse::<u64>().ok()) {
        _ if cfg!(miri) => 100,
        Some(cases) => cases * 2000,
        None => 200_000,
    };
    let (mut judged, mut seed) = (0, 1);
    while judged < wanted {
        let mut world = World::<L>::new(0x9e37_79b9_7f4a_7c15 ^ seed);
        for turn in 0..if cfg!(miri) { 12 } else { 400 } {
            let (mix, most, budget) = (world.below(9), world.below(40), world.below(50) as usize);
            world.receive_some(mix, most);
            let when_full = if world.below(2) == 0 { WhenFull::Drop } else { WhenFull::HandUp };
            world.poll(budget, when_full);
            if world.below(3) > 0 {
                let most = world.below(40) as usize;
                world.send(most);
            }
            if world.below(3) > 0 {
                world.take_up();
            }
            if turn % 16 == 0 || turn < 40 {
                world.check_owners();
            }
        }
        loop {
            world.take_up();
            if world.poll(64, WhenFull::Drop) == 0 {
                break;
            }
        }
        world.check_owners();
        world.check_accounts(world.id);
        let Settled { sent, dropped, rest, .. } = world.rx.settled;
        let kinds = [sent, dropped, rest.passed, rest.aborted, rest.redirected, rest.full, rest.whole];
        assert!(cfg!(miri) || kinds.iter().all(|&kind| kind > 0), "{:?}", world.rx.settled);
        judged += world.id;
        world.end();
        seed += 1;
    }
}

#[test]
fn a_hook_that_panics_loses_nothing_and_its_frame_is_judged_again() {
    panics::<Split>();
    panics::<Packed>();
}

fn panics<L: Layout<Rx: Send, Tx: Send>>() {
    for (at, frames) in [(0, 1_u32), (3, 20), (19, 20)] {
        for code in 0..4 {
            let mut world = World::<L>::new(3);
            (0..frames).for_each(|_| assert!(world.receive(code, 9, 60, 0)));
            world.rx_card.publish();
            let mut seen = 0;
            let mut panics = |frame: &mut FrameView<'_>| {
                assert!(seen != at, "as the test wants");
                seen += 1;
                follow(frame)
            };
            let [a, b] = &mut world.tx;
            let (rx, batch) = (&mut world.rx, &mut world.batch);
            catch_unwind(AssertUnwindSafe(|| rx.poll_with(&mut panics, &mut [a, b], WhenFull::Drop, batch, 64))).unwrap_err();
            world.look();
            world.check_owners();
            assert_eq!(world.rx.settled.frames(), at, "{:?}", world.rx.settled);
            world.poll(64, WhenFull::Drop);
            world.check_owners();
            world.check_accounts(frames.into());
            world.end();
        }
    }
}

#[test]
fn lies_of_either_device_reach_no_hook_and_no_buffer() {
    // The receiver's: numbers and lengths that were not lent.
    for (id, used_bytes) in [(SIZE.into(), 72), (u32::MAX, 72), (3, 11), (3, u32::MAX), (3, 2048 + 13), (0, 72)] {
        let mut world = World::<Split>::new(3);
        (0..8).for_each(|_| assert!(world.receive(0, 9, 60, 0)));
        world.rx_card.write_used(3, id, used_bytes);
        world.rx_card.publish();
        let [a, b] = &mut world.tx;
        let judged = world.rx.poll_with(&mut follow, &mut [a, b], WhenFull::Drop, &mut world.batch, 64);
        // A number that was used before has another buffer behind it by now, which the device was not told of: what lies in it is judged.
        let wanted = if id == 0 { 8 } else { 3 };
        assert_eq!((judged, world.rx.fault.is_some()), (wanted, id != 0), "{id} {used_bytes}");
        let held = world.pools[0].available() + world.batch.cache().count(&world.pools[0]) as u32;
        // What a broken queue has taken out last goes to nobody.
        assert!(held + u32::from(SIZE) + world.tx[0].ring.in_flight() as u32 >= BUFFERS - u32::from(used_bytes == 11), "{held}");
        world.release();
    }
    // The transmitter's: what it did not have, and what it gave back twice.
    for id in [SIZE.into(), u32::MAX, 0, 31] {
        let mut world = World::<Split>::new(3);
        (0..4).for_each(|_| assert!(world.receive(0, 9, 60, 0)));
        world.rx_card.publish();
        assert_eq!(world.poll(64, WhenFull::Drop), 4);
        let first = world.in_flight[0][0].0;
        SplitEnd::use_one(&mut world.tx_cards[0], first.into(), 0);
        SplitEnd::use_one(&mut world.tx_cards[0], if id == 0 { first.into() } else { id }, 0);
        world.tx_cards[0].publish();
        world.unused[0] -= 1;
        (0..4).for_each(|_| assert!(world.receive(0, 9, 60, 0)));
        world.rx_card.publish();
        // One that was given back twice is taken for one that was sent: the frame that lies there by now goes, and its buffer has one owner all the same.
        let [a, b] = &mut world.tx;
        assert_eq!(world.rx.poll_with(&mut follow, &mut [a, b], WhenFull::Drop, &mut world.batch, 64), 4);
        let frames: Vec<Frame> = core::iter::from_fn(|| world.pools[0].take()).collect();
        let held = frames.len() + usize::from(SIZE) + world.tx[0].ring.in_flight() + world.batch.cache().count(&world.pools[0]);
        assert_eq!(held, BUFFERS as usize, "{id}");
        drop(frames);
        world.release();
    }
}
