//! Receive over a scripted kernel.

use std::boxed::Box;
use std::collections::VecDeque;
use std::fmt;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::{Ring, Script};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::device::state::Shared;
use crate::queue::contract::RxQueue;
use crate::queue::core::kernel::{NotTaken, Piece, RxError, RxKernel, RxLimits, Taken};
use crate::queue::core::lent::Stop;
use crate::queue::core::rx::RxCore;
use crate::ring::fault::QueueFault;
use crate::testing::{Trigger, cases, domain};

const FAULT: QueueFault = QueueFault::Index { index: 1, limit: 1 };
const TOO_LONG: QueueFault = QueueFault::Protocol("too long");
/// Bytes and buffers of the longest frame.
const LIMITS: RxLimits = RxLimits { max_frame_bytes: 40, max_pieces: 4 };
const SLOTS: u32 = 16;
/// Frames of this length have a header that makes no sense.
const NO_SENSE: usize = 13;

/// What lies in one descriptor that the device is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// A whole frame with nothing to be said about it.
    Ordinary(usize),
    /// A buffer that takes a look: whole (`ends`, behind a frame's end), or a piece.
    Piece {
        bytes: usize,
        ends: bool,
    },
    Bad,
    Fault,
}

#[derive(Default)]
struct State {
    done: VecDeque<Item>,
    /// The device fills each descriptor as soon as it is emptied, with this.
    endless: Option<Item>,
    /// Counted by `ready`, where it counts.
    seen: usize,
    in_frame: bool,
    no_buffer: bool,
    ready_fault: Option<QueueFault>,
    /// Descriptors that were emptied and not shown to the device.
    emptied: usize,
    published: usize,
    rings: usize,
    armed: usize,
}

/// A kernel that counts what is ready and what the bytes are, and drops long frames, or one that does neither and whose device must not send them.
struct Kernel<const COUNTS: bool> {
    script: Script<State>,
    pool: BufPool,
}

impl<const COUNTS: bool> Kernel<COUNTS> {
    fn frame(&self, bytes: usize) -> Frame {
        self.pool.frame_from(&vec![bytes as u8; bytes]).unwrap()
    }
}

impl<const COUNTS: bool> fmt::Debug for Kernel<COUNTS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a script")
    }
}

impl State {
    fn front(&self) -> Option<Item> {
        self.done.front().copied().or(self.endless)
    }
    fn take(&mut self, counts: bool) {
        if self.done.pop_front().is_some() && counts {
            self.seen = self.seen.checked_sub(1).expect("no more than was seen to be ready");
        }
        self.emptied += 1;
    }
}

impl<const COUNTS: bool> RxKernel for Kernel<COUNTS> {
    type Lent = Ring;
    const DRIVER: &'static str = "script";
    const COUNTS_BYTES: bool = COUNTS;
    const COUNTS_READY: bool = COUNTS;
    const HAS_TAKE_ONLY: bool = true;
    const ALWAYS_RINGS: bool = !COUNTS;
    const TOO_LONG: Option<QueueFault> = if COUNTS { None } else { Some(TOO_LONG) };

    fn capacity(&self) -> u32 {
        SLOTS
    }
    fn ready(&mut self) -> Result<usize, QueueFault> {
        let mut state = self.script.state();
        if let Some(fault) = state.ready_fault {
            return Err(fault);
        }
        state.seen = state.done.len();
        Ok(if COUNTS { state.seen } else { usize::MAX })
    }
    fn take_only(&mut self, batch: &mut Batch) -> Option<u64> {
        // A room of none is no more than a kernel has to see by itself.
        if batch.room() == 0 || COUNTS && self.ready().is_err() {
            return None;
        }
        let Taken { frames: 1, bytes } = self.take_ordinary(batch, 1) else { return None };
        let mut state = self.script.state();
        if !COUNTS {
            state.published += std::mem::take(&mut state.emptied);
            state.rings += 1;
        }
        Some(bytes)
    }
    fn take_first(&mut self, batch: &mut Batch, most: usize) -> Taken {
        // By blocks of four, and a room of less than was asked for is for the kernel to see.
        if batch.room() < most { Taken::default() } else { self.take_ordinary(batch, most / 4 * 4) }
    }
    fn take_ordinary(&mut self, batch: &mut Batch, most: usize) -> Taken {
        let mut taken = Taken::default();
        while taken.frames < most {
            let mut state = self.script.state();
            let Some(Item::Ordinary(bytes)) = state.front().filter(|_| !state.in_frame && !state.no_buffer) else { break };
            state.take(COUNTS);
            batch.push(self.frame(bytes)).expect("no more than there is room for");
            taken.frames += 1;
            taken.bytes += if COUNTS { bytes as u64 } else { 0 };
        }
        taken
    }
    fn take_unusual(&mut self, _: &mut Batch) -> Result<Piece, NotTaken> {
        let mut state = self.script.state();
        let Some(item) = state.front() else { return Err(NotTaken::NotDone) };
        if state.no_buffer {
            return Err(NotTaken::NoBuffer);
        }
        if item == Item::Fault {
            return Err(NotTaken::Fault(FAULT));
        }
        state.take(COUNTS);
        let (bytes, ends) = match item {
            Item::Ordinary(bytes) => (bytes, true),
            Item::Piece { bytes, ends } => (bytes, ends),
            Item::Bad | Item::Fault => {
                state.in_frame = false;
                return Err(NotTaken::Bad);
            }
        };
        state.in_frame = !ends;
        Ok(Piece { frame: self.frame(bytes), ends })
    }
    fn judge(&mut self, frame: &mut Frame) -> Result<(), RxError> {
        if frame.len() == NO_SENSE { Err(RxError::Header) } else { Ok(()) }
    }
    fn publish(&mut self) -> bool {
        let mut state = self.script.state();
        assert!(state.emptied > 0, "nothing is published where nothing was taken");
        state.published += state.emptied;
        state.emptied = 0;
        true
    }
    fn ring_doorbell(&mut self) {
        self.script.state().rings += 1;
    }
    fn arm(&mut self) {
        self.script.state().armed += 1;
    }
    fn has_frames(&self) -> bool {
        self.script.state().front().is_some()
    }
    fn stop(&mut self) -> Stop {
        Stop::Unconfirmed
    }
    fn into_lent(self) -> Ring {
        Ring::default()
    }
}

/// A queue, its script, the control handle's end and the pool of its frames.
fn queue<const COUNTS: bool>() -> (RxCore<Kernel<COUNTS>>, Script<State>, Shared, BufPool) {
    let pool = BufPool::new(&domain().0, PoolConfig::new(512)).unwrap();
    let (script, mut shared) = (Script::default(), Shared::new());
    let kernel = Kernel { script: script.clone(), pool: pool.clone() };
    (RxCore::new(kernel, shared.rx_seat(), 0, LIMITS), script, shared, pool)
}

/// What a reader of the contract expects of the items that came so far, one after the other.
#[derive(Debug, Default)]
struct Expected {
    /// Lengths of the pieces of each frame that is to come up.
    frames: VecDeque<Vec<usize>>,
    under_way: Vec<usize>,
    bytes: u64,
    errors: u64,
    header_errors: u64,
    length_errors: u64,
    fault: Option<QueueFault>,
}

impl Expected {
    fn item(&mut self, item: Item, drops_long: bool) {
        if self.fault.is_some() {
            return;
        }
        let (bytes, ends) = match item {
            Item::Fault => {
                self.errors += u64::from(!self.under_way.is_empty());
                return self.fault = Some(FAULT);
            }
            Item::Bad => {
                self.errors += 1;
                return self.under_way.clear();
            }
            Item::Ordinary(bytes) => (bytes, true),
            Item::Piece { bytes, ends } => (bytes, ends),
        };
        self.under_way.push(bytes);
        let all: usize = self.under_way.iter().sum();
        let is_long = (all > LIMITS.max_frame_bytes || self.under_way.len() > LIMITS.max_pieces) && !matches!(item, Item::Ordinary(_));
        if is_long && !drops_long {
            self.errors += 1;
            return self.fault = Some(TOO_LONG);
        }
        if !ends {
            return;
        }
        let pieces = std::mem::take(&mut self.under_way);
        if is_long {
            self.length_errors += 1;
            self.errors += 1;
        } else if all == NO_SENSE && !matches!(item, Item::Ordinary(_)) {
            self.header_errors += 1;
            self.errors += 1;
        } else {
            self.bytes += all as u64;
            self.frames.push_back(pieces);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Items(Vec<Item>),
    Poll { budget: usize, room: usize },
    Buffers(bool),
    Arm,
}

/// Items as a device leaves them: a frame that began goes on in pieces.
fn items() -> impl Strategy<Value = Vec<Item>> {
    let piece = |most: usize| 1..most;
    let frame = prop_oneof![
        6 => (14usize..40).prop_map(|bytes| vec![Item::Ordinary(bytes)]),
        2 => piece(60).prop_map(|bytes| vec![Item::Piece { bytes, ends: true }]),
        3 => proptest::collection::vec(piece(20), 1..7).prop_map(|lens| {
            let last = lens.len() - 1;
            (0..).zip(lens).map(|(k, bytes)| Item::Piece { bytes, ends: k == last }).collect()
        }),
        1 => proptest::collection::vec(piece(9), 0..3).prop_map(|lens| {
            lens.into_iter().map(|bytes| Item::Piece { bytes, ends: false }).chain([Item::Bad]).collect()
        }),
    ];
    proptest::collection::vec(frame, 0..10).prop_map(|frames| frames.into_iter().flatten().collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => items().prop_map(Step::Items),
        10 => (0usize..40, 0usize..40).prop_map(|(budget, room)| Step::Poll { budget, room }),
        3 => Just(Step::Poll { budget: 1, room: 40 }),
        1 => Just(Step::Items(vec![Item::Fault])),
        1 => any::<bool>().prop_map(Step::Buffers),
        1 => Just(Step::Arm),
    ]
}

#[allow(clippy::needless_pass_by_value, reason = "proptest gives it away")]
fn is_received_as_expected<const COUNTS: bool>(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut rx, script, shared, pool) = queue::<COUNTS>();
    let mut batch = Batch::new(40);
    let (mut expected, mut packets, mut stalled) = (Expected::default(), 0, 0);
    // At last the buffers are there, and polls enough for everything that came.
    let to_the_end =
        [Step::Buffers(true)].into_iter().chain(std::iter::repeat_n(Step::Poll { budget: 400, room: 40 }, 2 * steps.len() * 80 / SLOTS as usize));
    for step in steps.clone().into_iter().chain(to_the_end) {
        match step {
            Step::Items(items) => {
                items.iter().for_each(|&item| expected.item(item, COUNTS));
                script.state().done.extend(items);
            }
            Step::Buffers(are_there) => script.state().no_buffer = !are_there,
            Step::Arm => prop_assert_eq!(rx.arm(), rx.fault().is_none() && !script.state().done.is_empty()),
            Step::Poll { budget, room } => {
                batch.fill(&pool, 40 - room);
                let state = script.state();
                let (rings, published, ready) = (state.rings, state.published, state.done.len());
                let was_broken = rx.fault().is_some();
                stalled += u64::from(state.no_buffer && ready > 0 && budget > 0 && room > 0 && !was_broken);
                drop(state);
                let taken = rx.poll(&mut batch, budget);
                prop_assert!(taken <= budget.min(room) && taken <= ready);
                prop_assert_eq!(batch.len(), 40 - room + taken);
                prop_assert!(!was_broken || taken == 0, "a broken queue gives nothing");
                let state = script.state();
                if rx.fault().is_some() {
                    prop_assert_eq!((state.rings, state.published), (rings, published), "a broken queue hands the device nothing");
                } else {
                    prop_assert_eq!(state.emptied, 0, "what was emptied is the device's again");
                    prop_assert_eq!(state.rings - rings, usize::from(state.done.len() < ready), "one doorbell, and only for something");
                }
                drop(state);
                for frame in batch.frames().iter().skip(40 - room) {
                    let pieces: Vec<usize> = frame.segments().map(<[u8]>::len).collect();
                    prop_assert_eq!(Some(pieces), expected.frames.pop_front());
                }
                packets += taken as u64;
                batch.clear();
            }
        }
    }
    prop_assert_eq!(rx.fault(), expected.fault);
    let (counters, totals) = (rx.counters(), shared.rx_totals());
    let state = script.state();
    prop_assert_eq!((counters.packets, counters.errors, counters.doorbells), (packets, expected.errors, state.rings as u64));
    prop_assert_eq!(counters.stalls, stalled);
    prop_assert_eq!((totals.header_errors, totals.length_errors), (expected.header_errors, expected.length_errors));
    prop_assert!(expected.frames.is_empty(), "every frame came up: {:?}", expected.frames);
    prop_assert_eq!(totals.bytes, if COUNTS { expected.bytes } else { 0 });
    drop((state, rx, batch));
    prop_assert_eq!(pool.available(), pool.len(), "no buffer is lost");
    Ok(())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn frames_come_up_whole_in_order_and_counted(steps in proptest::collection::vec(step(), 1..40)) {
        is_received_as_expected::<true>(steps)?;
    }

    #[test]
    fn frames_of_a_device_that_counts_come_up_whole_and_in_order(steps in proptest::collection::vec(step(), 1..40)) {
        is_received_as_expected::<false>(steps)?;
    }
}

#[test]
fn a_device_that_fills_descriptors_without_frames_for_ever_does_not_keep_the_poll() {
    let (mut rx, script, ..) = queue::<false>();
    script.state().endless = Some(Item::Bad);
    let mut batch = Batch::new(8);
    assert_eq!(rx.poll(&mut batch, 8), 0);
    assert_eq!(rx.counters().errors, u64::from(SLOTS) + 1);
    assert_eq!(script.state().rings, 1, "they are the device's again");
}

#[test]
fn a_poll_of_a_whole_ring_is_counted_and_rung_for() {
    let (mut rx, script, ..) = queue::<false>();
    script.state().done.extend([Item::Ordinary(20); SLOTS as usize]);
    let mut batch = Batch::new(64);
    assert_eq!(rx.poll(&mut batch, 64), SLOTS as usize);
    assert_eq!((rx.counters().packets, rx.counters().doorbells), (u64::from(SLOTS), 1));
}

#[test]
fn an_index_that_makes_no_sense_breaks_the_queue() {
    let (mut rx, script, ..) = queue::<true>();
    script.state().ready_fault = Some(FAULT);
    let mut batch = Batch::new(8);
    assert_eq!((rx.poll(&mut batch, 8), rx.fault()), (0, Some(FAULT)));
    script.state().ready_fault = None;
    script.state().done.push_back(Item::Ordinary(20));
    assert_eq!((rx.poll(&mut batch, 8), rx.arm(), rx.fault()), (0, false, Some(FAULT)));
}

#[test]
fn a_fault_in_the_middle_of_a_frame_gives_its_buffers_back() {
    let (mut rx, script, _, pool) = queue::<true>();
    script.state().done.extend([Item::Piece { bytes: 5, ends: false }, Item::Fault]);
    assert_eq!(rx.poll(&mut Batch::new(8), 8), 0);
    assert_eq!((rx.fault(), pool.available()), (Some(FAULT), pool.len()));
}

#[test]
fn a_device_that_does_not_run_gives_nothing() {
    for fail in [false, true] {
        let (mut rx, script, mut shared, _) = queue::<false>();
        script.state().done.extend([Item::Ordinary(20); 3]);
        let mut batch = Batch::new(8);
        assert_eq!(rx.poll(&mut batch, 1), 1);
        if fail {
            shared.set_failed(QueueFault::NeedsReset);
        } else {
            shared.set_stopping();
        }
        assert_eq!(rx.fault(), Some(if fail { QueueFault::NeedsReset } else { QueueFault::Stopped }));
        assert_eq!((rx.poll(&mut batch, 1), rx.poll(&mut batch, 8), rx.arm()), (0, 0, false));
        assert_eq!(script.state().rings, 1);
    }
}

#[test]
fn a_queue_without_an_interrupt_looks_for_frames_and_arms_nothing() {
    let (mut rx, script, ..) = queue::<false>();
    assert!(rx.interrupt().is_none() && !rx.arm());
    script.state().done.push_back(Item::Ordinary(20));
    assert!(rx.arm());
    assert_eq!(script.state().armed, 0);
    rx.set_interrupt(Box::new(Trigger::default().interrupt()));
    assert!(rx.interrupt().is_some() && rx.arm());
    assert_eq!(script.state().armed, 1);
}
