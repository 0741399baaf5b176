//! The two layouts of virtqueues (2.7, 2.8) behind the verbs that they share.

use driver_core::buf::{Batch, BufPool, Frame};
use driver_core::host::Iova;
use driver_core::queue::core::{Lent, NotTaken, Silence};
use driver_core::queue::{QueueFault, RxHooked, TxHooked};
use driver_core::ring::packed::{PackedQueue, PackedRx, PackedTx};
use driver_core::ring::split::{HookRules, InOrderRx, InOrderTx, SplitQueue, SplitRx, SplitTx};
use driver_core::ring::{CommandQueue, Ordinary, PutWhole, Reclaimed, Requests, RingError, RingMemory, VirtqTaken, flow_hash};

use crate::desc::{HASH_HDR_BYTES, Header, NET_HDR_BYTES};
use crate::regs::Features;
use crate::rules::Rules;
use crate::watch::TxWatch;

mod sealed {
    pub trait Sealed {}
}

/// A receive queue of either layout.
pub trait RxVirtq: Lent + sealed::Sealed {
    /// Bytes of the device's header.
    const HEADER_BYTES: usize;
    /// The first word of a frame, with its flow hash where the header has one (see [`meta`](driver_core::buf::meta)).
    fn first_word(frame: &Frame) -> u64;
    /// What the device says before a frame.
    fn header(frame: &Frame) -> Option<Header>;

    /// Whether one look says how many buffers came back.
    const COUNTS_READY: bool;

    /// How many descriptors there are.
    fn size(&self) -> u16;
    /// Bytes lent with each.
    fn lent_bytes(&self) -> u32;
    /// How many buffers came back, or at least whether one did.
    ///
    /// # Errors
    /// [`QueueFault`]: what the device says makes no sense.
    fn ready(&mut self) -> Result<usize, QueueFault>;
    /// How many of `wanted` buffers may be taken: there are empty ones in their stead.
    fn covered(&mut self, batch: &mut Batch, wanted: usize) -> usize;
    /// Takes ordinary frames.
    fn take_ordinary(&mut self, batch: &mut Batch, count: usize, rules: &Rules) -> (usize, u64);
    /// Takes the next frame alone, if it is ordinary.
    fn take_only(&mut self, batch: &mut Batch, rules: &Rules) -> Option<u64>;
    /// Takes the next buffer, whatever it is like.
    ///
    /// # Errors
    /// [`NotTaken`]
    fn take(&mut self, batch: &mut Batch) -> Result<VirtqTaken, NotTaken>;
    /// Lends empty buffers in place of those taken, where taking has not done so.
    fn refill(&mut self, batch: &mut Batch);
    /// Shows the device what is available, and says whether it wants to be told.
    fn publish(&mut self) -> bool;
    /// Where the next descriptor will be made available, as a notification tells it (2.9).
    fn next_available(&self) -> u16;
    /// Asks for an interrupt at the next buffer that comes back.
    fn arm(&mut self);
    /// Asks for none.
    fn disarm(&mut self);
    /// Whether a buffer came back.
    fn has_frames(&self) -> bool;
    /// For hooks.
    fn hooked(&mut self, rules: HookRules) -> RxHooked<'_>;
    /// Makes the queue what it was when it was new, for a device that was reset. Returns how many buffers with frames are lost by it.
    fn rewind(&mut self, silence: &Silence) -> u64;
}

/// A transmit queue of either layout.
pub trait TxVirtq: Lent + sealed::Sealed {
    /// How many descriptors there are.
    fn size(&self) -> usize;
    /// How many of them are free.
    fn free(&self) -> usize;
    /// The pool whose frames take the short way.
    fn pool(&self) -> &BufPool;
    /// Takes back what was sent.
    ///
    /// # Errors
    /// [`QueueFault`]: what the device says makes no sense.
    fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault>;
    /// Puts the only frame of a batch, if it is ordinary and allowed.
    fn put_only(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> Option<u64>;
    /// Allows single frames.
    fn allow_singles(&mut self, min_free: u32, most: u32);
    /// Puts ordinary frames.
    fn put_ordinary(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> (usize, u64);
    /// The most descriptors that a frame of so many segments takes, or of fewer.
    fn most_descriptors(&self, segments: usize) -> usize;
    /// How many descriptors a frame takes.
    fn descriptors(&self, frame: &Frame) -> usize;
    /// Puts any frame.
    ///
    /// # Errors
    /// The frame, where it cannot be sent.
    fn put(&mut self, frame: Frame, header: Header) -> Result<(), Frame>;
    /// Whether the frame at the front may be one for `put_whole`.
    fn has_whole(&self, batch: &Batch) -> bool;
    /// Puts frames of which `header`, given each with its bytes, makes a header, and says into how many the device cuts it.
    fn put_whole(&mut self, batch: &mut Batch, header: impl FnMut(&mut Frame, usize) -> Option<(Header, u32)>) -> PutWhole;
    /// Shows the device what is available, and says whether it wants to be told.
    fn publish(&mut self) -> bool;
    /// Where the next descriptor will be made available, as a notification tells it (2.9).
    fn next_available(&self) -> u16;
    /// Asks for an interrupt when so many descriptors more are free, or all.
    fn arm(&mut self, descriptors: u32);
    /// Asks for none.
    fn disarm(&mut self);
    /// For hooks.
    fn hooked(&mut self, min_bytes: u16, max_bytes: u16) -> TxHooked<'_>;
    /// Makes the queue what it was when it was new, for a device that was reset. Returns how many frames are lost by it, and what came back.
    fn rewind(&mut self, silence: &Silence, batch: &mut Batch) -> (u64, Reclaimed);
}

/// The queues of one layout, and how they are made.
pub(crate) trait Layout {
    type Queue;
    type Rx: RxVirtq;
    type Tx: TxVirtq;

    /// How many bytes a queue takes.
    fn queue_bytes(size: u16) -> usize;
    /// And what a transmit queue has beside it, with tables of so many descriptors.
    fn tx_bytes(size: u16, table: u16) -> usize;
    /// A queue, by what was negotiated of queues.
    fn queue(memory: &mut RingMemory, size: u16, features: Features) -> Result<Self::Queue, RingError>;
    fn areas(queue: &Self::Queue) -> [Iova; 3];
    /// What tells another thread how far the device is.
    fn watch(ring: &Self::Tx) -> TxWatch;
    fn rx(queue: Self::Queue, pool: &BufPool) -> Result<Self::Rx, RingError>;
    /// A transmit queue, with tables of so many descriptors, by what was negotiated of checksums.
    fn tx(memory: &mut RingMemory, queue: Self::Queue, pool: &BufPool, table: u16, features: Features) -> Result<Self::Tx, RingError>;
    /// A queue of commands.
    fn commands(memory: &mut RingMemory, queue: Self::Queue) -> Result<CommandQueue, RingError>;
}

/// Split virtqueues (2.7), with headers of so many bytes.
pub(crate) struct Split<const HEADER: usize>;

/// The same of a device that uses buffers in order (2.7.9).
pub(crate) struct SplitInOrder<const HEADER: usize>;

/// Packed virtqueues (2.8), with headers of so many bytes.
pub(crate) struct Packed<const HEADER: usize>;

impl<const HEADER: usize> sealed::Sealed for SplitRx<HEADER> {}
impl<const HEADER: usize> sealed::Sealed for SplitTx<HEADER> {}
impl<const HEADER: usize> sealed::Sealed for InOrderRx<HEADER> {}
impl<const HEADER: usize> sealed::Sealed for InOrderTx<HEADER> {}
impl<const HEADER: usize> sealed::Sealed for PackedRx<HEADER> {}
impl<const HEADER: usize> sealed::Sealed for PackedTx<HEADER> {}

macro_rules! layout {
    ($layout:ident, $queue:ident, $rx:ident, $tx:ident, $commands:ident, |$made:ident, $features:ident| $order:expr, |$tx_made:ident, $requests:ident| $asked:expr, |$ring:ident| $watch:expr) => {
        impl<const HEADER: usize> Layout for $layout<HEADER>
        where
            $rx<HEADER>: RxVirtq,
            $tx<HEADER>: TxVirtq,
        {
            type Queue = $queue;
            type Rx = $rx<HEADER>;
            type Tx = $tx<HEADER>;

            fn queue_bytes(size: u16) -> usize {
                $queue::memory_bytes(size)
            }
            fn tx_bytes(size: u16, table: u16) -> usize {
                Self::Tx::memory_bytes(size, table)
            }
            fn queue(memory: &mut RingMemory, size: u16, features: Features) -> Result<$queue, RingError> {
                let ($made, $features) = ($queue::in_memory(memory, size, features.contains(Features::EVENT_IDX))?, features);
                Ok($order)
            }
            fn areas(queue: &$queue) -> [Iova; 3] {
                queue.areas()
            }
            fn watch($ring: &Self::Tx) -> TxWatch {
                $watch
            }
            fn rx(queue: $queue, pool: &BufPool) -> Result<Self::Rx, RingError> {
                Self::Rx::new(queue, pool)
            }
            fn tx(memory: &mut RingMemory, queue: $queue, pool: &BufPool, table: u16, features: Features) -> Result<Self::Tx, RingError> {
                let requests: Requests<HEADER> = |start, offset| Header::to_fill_in(start, offset).encode_in();
                let ($tx_made, $requests) = (Self::Tx::in_memory(memory, queue, pool, table)?, features.contains(Features::CSUM).then_some(requests));
                Ok($asked)
            }
            fn commands(memory: &mut RingMemory, queue: $queue) -> Result<CommandQueue, RingError> {
                CommandQueue::$commands(memory, queue)
            }
        }
    };
}
layout!(Split, SplitQueue, SplitRx, SplitTx, split, |queue, _features| queue, |ring, requests| ring.requests(requests), |ring| TxWatch::Split {
    used: ring.queue().used_index(),
    base: 0
});
// Frames that ask for a checksum go whole.
layout!(SplitInOrder, SplitQueue, InOrderRx, InOrderTx, split, |queue, _features| queue, |ring, _requests| ring, |ring| TxWatch::Split {
    used: ring.queue().used_index(),
    base: 0
});
layout!(
    Packed,
    PackedQueue,
    PackedRx,
    PackedTx,
    packed,
    |queue, features| queue.in_order(features.contains(Features::IN_ORDER)),
    |ring, requests| ring.requests(requests),
    |ring| TxWatch::Packed(ring.watch())
);

/// A frame's first word, by the header before it.
fn first_word<const HEADER: usize>(frame: &Frame) -> u64 {
    let last = frame.prefix::<HEADER>().filter(|_| HEADER == HASH_HDR_BYTES).and_then(|header| header.last_chunk());
    last.map_or(0, |last| flow_hash(u64::from_le_bytes(*last)))
}

/// What is alike in all receive queues.
macro_rules! rx_verbs {
    ($header:expr) => {
        const HEADER_BYTES: usize = $header;

        fn first_word(frame: &Frame) -> u64 {
            first_word::<{ $header }>(frame)
        }
        fn header(frame: &Frame) -> Option<Header> {
            frame.prefix::<{ $header }>().map(|bytes| Header::decode(bytes))
        }

        #[inline(always)]
        fn size(&self) -> u16 {
            self.queue().size()
        }
        #[inline(always)]
        fn lent_bytes(&self) -> u32 {
            Self::lent_bytes(self)
        }
        #[inline(always)]
        fn publish(&mut self) -> bool {
            Self::publish(self)
        }
        #[inline(always)]
        fn next_available(&self) -> u16 {
            self.queue().next_available()
        }
        fn arm(&mut self) {
            Self::arm(self);
        }
        #[inline(always)]
        fn disarm(&mut self) {
            Self::disarm(self);
        }
        #[inline(always)]
        fn has_frames(&self) -> bool {
            self.is_ready()
        }
    };
}

macro_rules! split_rx_virtq {
    ($header:expr, |$this:ident, $rules:ident| $hooked:expr) => {
        impl RxVirtq for SplitRx<{ $header }> {
            rx_verbs!($header);
            const COUNTS_READY: bool = true;

            #[inline(always)]
            fn ready(&mut self) -> Result<usize, QueueFault> {
                Self::ready(self).map(usize::from)
            }
            #[inline(always)]
            fn covered(&mut self, batch: &mut Batch, wanted: usize) -> usize {
                match Self::covered(self, batch, wanted) {
                    0 if wanted > 0 => {
                        Self::refill(self, batch);
                        Self::covered(self, batch, 1)
                    }
                    count => count,
                }
            }
            #[inline(always)]
            fn take_ordinary(&mut self, batch: &mut Batch, count: usize, rules: &Rules) -> (usize, u64) {
                let rules = *rules;
                Self::take_ordinary(self, batch, count, rules.used_bytes::<{ $header }>(), |header| rules.known(header))
            }
            #[inline(always)]
            fn take_only(&mut self, batch: &mut Batch, rules: &Rules) -> Option<u64> {
                Self::take_only(self, batch, rules.used_bytes::<{ $header }>(), rules)
            }
            #[inline(always)]
            fn take(&mut self, _: &mut Batch) -> Result<VirtqTaken, NotTaken> {
                Self::take(self).map_err(NotTaken::Fault)?.ok_or(NotTaken::NotDone)
            }
            #[inline(always)]
            fn refill(&mut self, batch: &mut Batch) {
                Self::refill(self, batch);
            }
            #[inline(always)]
            fn hooked(&mut self, rules: HookRules) -> RxHooked<'_> {
                let ($this, $rules) = (self, rules);
                $hooked
            }
            fn rewind(&mut self, silence: &Silence) -> u64 {
                silence.rewind_split_rx(self)
            }
        }
    };
}
split_rx_virtq!(NET_HDR_BYTES, |this, rules| RxHooked::split(this, rules));
// Frames with a hash are polled, and judged in the batch.
split_rx_virtq!(HASH_HDR_BYTES, |_this, _rules| RxHooked::whole());

macro_rules! packed_rx_virtq {
    ($header:expr, |$this:ident, $rules:ident| $hooked:expr) => {
        impl RxVirtq for PackedRx<{ $header }> {
            rx_verbs!($header);
            const COUNTS_READY: bool = false;

            #[inline(always)]
            fn ready(&mut self) -> Result<usize, QueueFault> {
                Ok(self.is_ready().into())
            }
            #[inline(always)]
            fn covered(&mut self, batch: &mut Batch, wanted: usize) -> usize {
                Self::covered(self, batch, wanted)
            }
            #[inline(always)]
            fn take_ordinary(&mut self, batch: &mut Batch, count: usize, rules: &Rules) -> (usize, u64) {
                Self::take_ordinary(self, batch, count, &rules.of_hooks::<{ $header }>())
            }
            #[inline(always)]
            fn take_only(&mut self, batch: &mut Batch, rules: &Rules) -> Option<u64> {
                Self::take_only(self, batch, &rules.of_hooks::<{ $header }>())
            }
            #[inline(always)]
            fn take(&mut self, batch: &mut Batch) -> Result<VirtqTaken, NotTaken> {
                if !self.is_ready() {
                    return Err(NotTaken::NotDone);
                }
                if Self::covered(self, batch, 1) == 0 {
                    return Err(NotTaken::NoBuffer);
                }
                Self::take(self, batch).map_err(NotTaken::Fault)?.ok_or(NotTaken::NotDone)
            }
            #[inline(always)]
            fn refill(&mut self, _: &mut Batch) {}
            #[inline(always)]
            fn hooked(&mut self, rules: HookRules) -> RxHooked<'_> {
                let ($this, $rules) = (self, rules);
                $hooked
            }
            fn rewind(&mut self, silence: &Silence) -> u64 {
                silence.rewind_packed_rx(self)
            }
        }
    };
}
packed_rx_virtq!(NET_HDR_BYTES, |this, rules| RxHooked::packed(this, rules));
// As over split queues.
packed_rx_virtq!(HASH_HDR_BYTES, |_this, _rules| RxHooked::whole());

macro_rules! in_order_rx_virtq {
    ($header:expr) => {
        impl RxVirtq for InOrderRx<{ $header }> {
            rx_verbs!($header);
            const COUNTS_READY: bool = true;

            #[inline(always)]
            fn ready(&mut self) -> Result<usize, QueueFault> {
                Self::ready(self).map(usize::from)
            }
            #[inline(always)]
            fn covered(&mut self, batch: &mut Batch, wanted: usize) -> usize {
                Self::covered(self, batch, wanted)
            }
            #[inline(always)]
            fn take_ordinary(&mut self, batch: &mut Batch, count: usize, rules: &Rules) -> (usize, u64) {
                Self::take_ordinary(self, batch, count, &rules.of_hooks::<{ $header }>())
            }
            /// One frame goes the way of many.
            #[inline(always)]
            fn take_only(&mut self, _: &mut Batch, _: &Rules) -> Option<u64> {
                None
            }
            fn take(&mut self, batch: &mut Batch) -> Result<VirtqTaken, NotTaken> {
                Self::take(self, batch).map_err(NotTaken::Fault)?.ok_or(NotTaken::NotDone)
            }
            #[inline(always)]
            fn refill(&mut self, _: &mut Batch) {}
            /// Frames are polled, and judged in the batch.
            fn hooked(&mut self, _: HookRules) -> RxHooked<'_> {
                RxHooked::whole()
            }
            fn rewind(&mut self, silence: &Silence) -> u64 {
                silence.rewind_in_order_rx(self)
            }
        }
    };
}
in_order_rx_virtq!(NET_HDR_BYTES);
in_order_rx_virtq!(HASH_HDR_BYTES);

macro_rules! tx_virtq {
    ($ring:ident, $header:expr, $rewind:ident, |$this:ident, $bytes:ident| $hooked:expr) => {
        impl TxVirtq for $ring<{ $header }> {
            #[inline(always)]
            fn size(&self) -> usize {
                self.len()
            }
            #[inline(always)]
            fn free(&self) -> usize {
                Self::free(self)
            }
            #[inline(always)]
            fn pool(&self) -> &BufPool {
                Self::pool(self)
            }
            #[inline(always)]
            fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault> {
                Self::reclaim(self, batch)
            }
            #[inline(always)]
            fn put_only(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> Option<u64> {
                Self::put_only(self, batch, min_bytes, max_bytes)
            }
            #[inline(always)]
            fn allow_singles(&mut self, min_free: u32, most: u32) {
                Self::allow_singles(self, min_free, most);
            }
            #[inline(always)]
            fn put_ordinary(&mut self, batch: &mut Batch, min_bytes: u16, max_bytes: u16) -> (usize, u64) {
                Self::put_ordinary(self, batch, min_bytes, max_bytes)
            }
            fn most_descriptors(&self, segments: usize) -> usize {
                Self::most_descriptors(self, segments)
            }
            #[inline(always)]
            fn descriptors(&self, frame: &Frame) -> usize {
                Self::descriptors(self, frame)
            }
            #[inline(always)]
            fn put(&mut self, frame: Frame, header: Header) -> Result<(), Frame> {
                Self::put(self, frame, header.encode_in())
            }
            #[inline(always)]
            fn has_whole(&self, batch: &Batch) -> bool {
                Self::has_whole(self, batch)
            }
            fn put_whole(&mut self, batch: &mut Batch, mut header: impl FnMut(&mut Frame, usize) -> Option<(Header, u32)>) -> PutWhole {
                Self::put_whole(self, batch, |frame, bytes| header(frame, bytes).map(|(header, frames)| (header.encode_in(), frames)))
            }
            #[inline(always)]
            fn publish(&mut self) -> bool {
                Self::publish(self)
            }
            #[inline(always)]
            fn next_available(&self) -> u16 {
                self.queue().next_available()
            }
            fn arm(&mut self, descriptors: u32) {
                Self::arm(self, descriptors);
            }
            fn disarm(&mut self) {
                Self::disarm(self);
            }
            #[inline(always)]
            fn hooked(&mut self, min_bytes: u16, max_bytes: u16) -> TxHooked<'_> {
                let ($this, $bytes) = (self, (min_bytes, max_bytes));
                $hooked
            }
            fn rewind(&mut self, silence: &Silence, batch: &mut Batch) -> (u64, Reclaimed) {
                silence.$rewind(self, batch)
            }
        }
    };
}
tx_virtq!(SplitTx, NET_HDR_BYTES, rewind_split_tx, |this, bytes| TxHooked::split(this, bytes.0, bytes.1));
tx_virtq!(SplitTx, HASH_HDR_BYTES, rewind_split_tx, |_this, _bytes| TxHooked::whole());
tx_virtq!(PackedTx, NET_HDR_BYTES, rewind_packed_tx, |this, bytes| TxHooked::packed(this, bytes.0, bytes.1));
tx_virtq!(PackedTx, HASH_HDR_BYTES, rewind_packed_tx, |_this, _bytes| TxHooked::whole());
tx_virtq!(InOrderTx, NET_HDR_BYTES, rewind_in_order_tx, |_this, _bytes| TxHooked::whole());
tx_virtq!(InOrderTx, HASH_HDR_BYTES, rewind_in_order_tx, |_this, _bytes| TxHooked::whole());
