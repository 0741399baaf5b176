//! The block kernel against the loop of [`scalar`](crate::ring::scalar): the same descriptors give the same frames, leave the same slots and end at the
//! same tail.

use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::meta::{L4_BAD, L4_CHECKED, LEN_SHIFT, VLAN_SHIFT, VLAN_VALID};
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::desc::BLOCK;
use crate::ring::rules::RxRules;
use crate::ring::rx::{RxRing, RxTakeError};
use crate::ring::scalar::ScalarRing;
use crate::testing::{DescEnd, domain};

const BAD: u64 = 1 << 29;
const RULES: RxRules = RxRules::new(1).with_end(2).with_unusual(BAD | VLAN_VALID).with_dropped(0x3ff << 21);
/// A tag that the device left in the frame is no news: neither is that there is one.
const HIDDEN: u64 = VLAN_VALID | 0xffff << VLAN_SHIFT;
const RING: u32 = 32;
const QUEUE: u16 = 5;

/// What a device writes over a descriptor.
#[derive(Debug, Clone, Copy)]
enum Write {
    Whole(u16),
    Part(u16),
    Bad(u16),
    Tagged(u16),
    BadChecksum(u16),
    /// With bits in the first word that frames do not keep.
    Split(u16),
    Lie,
    Anything([u64; 2]),
}

impl Write {
    fn words(self) -> [u64; 2] {
        let (whole, hash) = (RULES.done | RULES.end, 0x1234_5678 << 32 | 1);
        let len = |bytes: u16| u64::from(bytes) << LEN_SHIFT;
        match self {
            Self::Whole(bytes) => [hash, whole | len(bytes)],
            Self::Part(bytes) => [hash, RULES.done | len(bytes)],
            Self::Bad(bytes) => [hash, whole | BAD | len(bytes)],
            Self::Tagged(bytes) => [hash, whole | VLAN_VALID | len(bytes) | 0xabc << VLAN_SHIFT],
            Self::BadChecksum(bytes) => [0, whole | L4_CHECKED | L4_BAD | len(bytes)],
            Self::Split(bytes) => [hash | 0x155 << 21, whole | L4_CHECKED | len(bytes)],
            Self::Lie => [0, whole | len(2049)],
            Self::Anything([word0, word1]) => [word0, word1 & !(0xffff << LEN_SHIFT) | len(60)],
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Write>),
    Poll(usize),
    DropSome(usize),
}

fn write() -> impl Strategy<Value = Write> {
    let len = || 1u16..=2048;
    prop_oneof![
        40 => len().prop_map(Write::Whole),
        6 => len().prop_map(Write::Part),
        1 => len().prop_map(Write::Bad),
        1 => len().prop_map(Write::Tagged),
        2 => len().prop_map(Write::BadChecksum),
        1 => len().prop_map(Write::Split),
        1 => any::<[u64; 2]>().prop_map(Write::Anything),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(write(), 1..24).prop_map(Step::Write),
        4 => (1usize..40).prop_map(Step::Poll),
        1 => (1usize..40).prop_map(Step::DropSome),
        // Rare, since it ends the story.
        1 => prop_oneof![9 => Just(Step::Poll(1)), 1 => Just(Step::Write(std::vec![Write::Lie]))],
    ]
}

/// The device: it fills what both rings lent it with the same bytes, and writes the same words over both descriptors.
struct Card {
    rings: [DescEnd; 2],
    head: u32,
    count: u64,
}

impl Card {
    /// One descriptor, unless the tail is reached.
    fn write(&mut self, tail: u32, write: Write) {
        if self.head == tail {
            return;
        }
        for ring in self.rings {
            let mut bytes = [self.count as u8; 2048];
            bytes[..8].copy_from_slice(&self.count.to_le_bytes());
            // SAFETY: the descriptor holds the address of a lent buffer of 2048 bytes.
            unsafe { ring.fill(self.head, &bytes) };
            ring.write(self.head, write.words());
        }
        self.count += 1;
        self.head = (self.head + 1) % RING;
    }
}

/// A driver's receive loop over the kernel, as short as it can be.
struct Driver {
    ring: RxRing,
    batch: Batch,
    partial: Option<Frame>,
}

impl Driver {
    fn poll(&mut self, budget: usize) -> Result<Vec<Frame>, RxTakeError> {
        let mut frames = Vec::new();
        while frames.len() < budget {
            let blocks = self.ring.take_blocks(&mut self.batch, budget - frames.len());
            assert!(blocks.is_multiple_of(BLOCK));
            let mut is_taken = blocks > 0 || self.ring.take_plain(&mut self.batch);
            if !is_taken && self.partial.is_none() && self.ring.has_chain() {
                let mut begun = None;
                // Both ways, in turns.
                let first = self.ring.next().is_multiple_of(2) && self.ring.take_chain(&mut self.batch, &mut begun, 40, usize::MAX, BAD, HIDDEN);
                let room = budget - frames.len() - usize::from(first);
                is_taken = first || begun.is_some() || {
                    self.ring.take_chains(&mut self.batch, room, &mut begun, 40, usize::MAX, BAD, HIDDEN) > 0 || begun.is_some()
                };
                self.partial = begun.map(|begun| begun.chain.into_frame());
            }
            if !is_taken {
                match self.ring.take(&mut self.batch, BAD, HIDDEN) {
                    Ok((frame, ended)) => {
                        let frame = match self.partial.take() {
                            Some(mut first) => {
                                first.copy_meta(&frame);
                                first.append(frame);
                                first
                            }
                            None => frame,
                        };
                        self.ring.allow_ordinary(ended);
                        if ended { frames.push(frame) } else { self.partial = Some(frame) }
                    }
                    Err(RxTakeError::Bad) => {
                        self.partial = None;
                        self.ring.allow_ordinary(true);
                    }
                    Err(RxTakeError::NotDone | RxTakeError::NoBuffer) => break,
                    Err(error) => return Err(error),
                }
            }
            frames.extend(core::iter::from_fn(|| self.batch.pop()));
        }
        Ok(frames)
    }
}

/// All that can be asked of a frame.
fn seen(frame: &Frame) -> impl PartialEq + core::fmt::Debug + use<> {
    let segments: Vec<Vec<u8>> = frame.segments().map(<[u8]>::to_vec).collect();
    (segments, frame.rss(), frame.vlan(), frame.checksum(), frame.rx_queue())
}

/// What a device sees in a ring: which descriptors are lent, and that each lends a buffer of its own.
fn lent(ring: DescEnd) -> Vec<bool> {
    let words = ring.read_all();
    let mut iovas: Vec<u64> = words.iter().filter(|words| words[1] == 0).map(|words| words[0]).collect();
    let count = iovas.len();
    iovas.sort_unstable();
    iovas.dedup();
    assert_eq!(iovas.len(), count, "a buffer was lent twice");
    words.iter().map(|words| words[1] == 0).collect()
}

proptest! {
    #![proptest_config(crate::testing::cases())]
    #[test]
    fn blocks_and_the_datasheets_loop_take_the_same(spare in 1u32..80, steps in proptest::collection::vec(step(), 1..60)) {
        let domain = domain().0;
        let pools = [(); 2].map(|()| BufPool::new(&domain, PoolConfig::new(RING + spare)).unwrap());
        let mut scalar = ScalarRing::new(&pools[0], RING, QUEUE, RULES, (BAD, HIDDEN));
        let mut driver = Driver { ring: RxRing::new(&pools[1], RING, QUEUE, RULES).unwrap(), batch: Batch::new(64), partial: None };
        // SAFETY: the rings outlive it.
        let mut card = Card { rings: [scalar.desc.iova(), driver.ring.iova()].map(|iova| unsafe { DescEnd::new(iova, RING) }), head: 0, count: 0 };
        let (mut of_scalar, mut of_driver) = (VecDeque::new(), VecDeque::new());
        for step in steps {
            match step {
                Step::Write(writes) => writes.into_iter().for_each(|write| card.write(scalar.tail(), write)),
                Step::Poll(budget) => {
                    let (a, b) = (scalar.receive(budget), driver.poll(budget));
                    let too_long = a.as_ref().err().map(|lie| RxTakeError::Length { len_bytes: lie.0 });
                    prop_assert_eq!(b.as_ref().err(), too_long.as_ref());
                    prop_assert_eq!((scalar.next, scalar.tail()), (driver.ring.next(), driver.ring.tail()));
                    prop_assert_eq!(lent(card.rings[0]), lent(card.rings[1]));
                    let (Ok(a), Ok(b)) = (a, b) else { break };
                    prop_assert_eq!(a.iter().map(seen).collect::<Vec<_>>(), b.iter().map(seen).collect::<Vec<_>>());
                    of_scalar.extend(a);
                    of_driver.extend(b);
                }
                Step::DropSome(n) => {
                    of_scalar.drain(..n.min(of_scalar.len()));
                    of_driver.drain(..n.min(of_driver.len()));
                }
            }
        }
        drop((of_driver, driver.batch, driver.partial));
        // SAFETY: the card of this test writes no more.
        unsafe { driver.ring.release() };
        prop_assert_eq!(pools[1].available(), RING + spare);
    }
}
