//! Polling with a hook: a verdict on each received frame where it lies.

use core::mem;
use core::ptr::NonNull;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::queue::contract::{RxQueue, TxQueue};
use crate::ring::hook::{Judge, Opened, Outlets, RxWay, TxWay, Unfit, judge_blocks, judge_one, judge_virtq};
use crate::ring::tx::TxRing;
use crate::ring::verdict::{Hook, Judged, Settled, Shut, Verdict, WhenFull};
use crate::ring::virtq::judged::Undone;

/// Polls with a [`Hook`]. Every [`RxQueue`] can do so, and `dyn RxQueue` as well.
pub trait PollWith: RxQueue {
    /// Lets `hook` judge received frames where they lie, `budget` at most, and does as it says: frames that pass go to the back of `batch`, as with
    /// [`RxQueue::poll`]; those for [`Verdict::Tx`] leave by the first of the transmit queues `tx`, those for [`Verdict::Redirect`] by another of them; the buffers
    /// of those that are dropped stay with the device. Returns how many frames were judged. `batch` also bounds them, by its room, whatever
    /// the verdicts are.
    ///
    /// What is sent goes as with [`TxQueue::submit`]: padded, bounded by the MTU, held back where the queue is stopped. What a queue has no room for, and all
    /// that is for it behind that in the same call, is dropped or handed up, by `when_full`: what it gets is in order. A queue of another domain or with another kind of ring gets frames, one at a time, and where it has to copies of them.
    ///
    /// Frames that come up by polls alone (in several buffers, with a tag that the device took out) are judged in the batch ([`Hook::verdict_whole`]): no frame
    /// passes a hook by. Never blocks, and panics where the hook does.
    ///
    /// ```
    /// use driver_core::buf::Batch;
    /// use driver_core::queue::{FrameView, PollWith, RxQueue, TxQueue, Verdict, WhenFull};
    ///
    /// /// Answers what is for port 7 of UDP over IPv4, drops what else is UDP, hands the rest up.
    /// fn echo(frame: &mut FrameView<'_>) -> Verdict {
    ///     let Some(head) = frame.data_mut().first_chunk_mut::<38>() else { return Verdict::Pass };
    ///     if head[12..15] != [8, 0, 0x45] || head[23] != 17 {
    ///         return Verdict::Pass;
    ///     }
    ///     if head[36..38] != [0, 7] {
    ///         return Verdict::Drop;
    ///     }
    ///     let (destination, rest) = head.split_at_mut(6);
    ///     destination.swap_with_slice(&mut rest[..6]);
    ///     let (from, to) = head[26..34].split_at_mut(4);
    ///     from.swap_with_slice(to);
    ///     let (from, to) = head[34..38].split_at_mut(2);
    ///     from.swap_with_slice(to);
    ///     Verdict::Tx
    /// }
    ///
    /// fn turn(rx: &mut dyn RxQueue, tx: &mut dyn TxQueue, batch: &mut Batch) {
    ///     rx.poll_with(&mut echo, &mut [tx], WhenFull::Drop, batch, 64);
    ///     // What passed is in the batch.
    /// }
    /// ```
    fn poll_with<H: Hook, T: TxQueue + ?Sized>(
        &mut self,
        hook: &mut H,
        tx: &mut [&mut T],
        when_full: WhenFull,
        batch: &mut Batch,
        budget: usize,
    ) -> usize {
        let budget = budget.min(batch.room());
        let mut unfit = Left::default();
        let done = if budget == 1 { way_of_one(self, hook, tx, batch, &mut unfit) } else { short_way(self, hook, tx, batch, budget, &mut unfit) };
        match done {
            Some(done) if done == budget && budget > 0 => done,
            Some(done) => long_way(self, hook, tx, when_full, batch, (done, budget), unfit),
            None => 0,
        }
    }
}

impl<Q: RxQueue + ?Sized> PollWith for Q {}

/// [`short_way`] for one frame. Nothing is settled before its hook has ended, so that there is nothing to be counted where that panics.
#[inline(always)]
fn way_of_one<Q: RxQueue + ?Sized, H: Hook, T: TxQueue + ?Sized>(
    rx: &mut Q,
    hook: &mut H,
    tx: &mut [&mut T],
    batch: &mut Batch,
    unfit: &mut Left,
) -> Option<usize> {
    let Some(tx) = tx.first_mut() else { return Some(0) };
    match rx.hook_begin().0 {
        RxWay::Nothing => None,
        RxWay::Whole => Some(0),
        RxWay::Descriptors(from) => match tx.hook_begin(batch).0 {
            TxWay::Descriptors(to) if to.allows_singles() => {
                let mut settled = Settled::default();
                let done = judge_one::<H, true>(from, to, hook, batch, &mut settled, &mut unfit.block);
                finish(rx, *tx, batch, &settled);
                Some(done)
            }
            TxWay::Descriptors(to) => {
                let mut settled = Settled::default();
                let done = judge_one::<H, false>(from, to, hook, batch, &mut settled, &mut unfit.block);
                finish(rx, *tx, batch, &settled);
                Some(done)
            }
            _ => Some(0),
        },
        RxWay::Virtq(from, rules) => match tx.hook_begin(batch).0 {
            TxWay::Virtq(to, bytes) => {
                let mut settled = Settled::default();
                let done = judge_virtq((from, &rules), Some((to, 0, bytes)), hook, (batch, &mut settled), 1, &mut unfit.one).0;
                finish(rx, *tx, batch, &settled);
                Some(done)
            }
            _ => Some(0),
        },
    }
}

/// Counts what was settled, and shows it to the devices.
#[inline(always)]
fn finish<Q: RxQueue + ?Sized, T: TxQueue + ?Sized>(rx: &mut Q, tx: &mut T, batch: &mut Batch, settled: &Settled) {
    if settled.sent > 0 {
        tx.hook_end(settled.sent, settled.sent_bytes, settled.by_allowance);
    }
    if settled.frames() > 0 {
        rx.hook_end(settled, batch);
    }
}

/// Judges blocks of frames that are dropped, leave by the first queue, or pass. Returns how many frames were settled; `None`: there are none to be judged.
#[inline(always)]
fn short_way<Q: RxQueue + ?Sized, H: Hook, T: TxQueue + ?Sized>(
    rx: &mut Q,
    hook: &mut H,
    tx: &mut [&mut T],
    batch: &mut Batch,
    budget: usize,
    unfit: &mut Left,
) -> Option<usize> {
    let Some(tx) = tx.first_mut() else { return Some(0) };
    let mut call = Short { tx, call: Call { rx, batch, settled: Settled::default() } };
    let Short { tx, call: Call { rx, batch, settled } } = &mut call;
    let done = match rx.hook_begin().0 {
        RxWay::Nothing => None,
        RxWay::Whole => Some(0),
        RxWay::Descriptors(from) => match tx.hook_begin(batch).0 {
            TxWay::Descriptors(to) => Some(judge_blocks(from, to, hook, batch, settled, budget, &mut unfit.block)),
            _ => Some(0),
        },
        RxWay::Virtq(from, rules) => match tx.hook_begin(batch).0 {
            TxWay::Virtq(to, bytes) => Some(judge_virtq((from, &rules), Some((to, 0, bytes)), hook, (batch, settled), budget, &mut unfit.one).0),
            _ => Some(0),
        },
    };
    // In line: what is dropped is dropped by a call, which is for panics.
    call.finish();
    mem::forget(call);
    done
}

/// The rest of a call that has settled `done` frames of its budget: frames one at a time, those that come up by polls, and blocks again behind them.
#[inline(never)]
fn long_way<Q: RxQueue + ?Sized, H: Hook, T: TxQueue + ?Sized>(
    rx: &mut Q,
    hook: &mut H,
    tx: &mut [&mut T],
    when_full: WhenFull,
    batch: &mut Batch,
    (mut done, budget): (usize, usize),
    mut unfit: Left,
) -> usize {
    let mut shut = Shut::default();
    loop {
        let mut call = Call { rx, batch, settled: Settled::default() };
        let judged = match call.rx.hook_begin().0 {
            RxWay::Nothing => return done,
            RxWay::Whole => Some(Judged::Unusual),
            RxWay::Virtq(..) => {
                drop(call);
                return virtq_way(rx, hook, tx, when_full, batch, (done, budget), unfit.one);
            }
            RxWay::Descriptors(ring) => {
                let mut out = Out { queues: &mut *tx };
                let mut judge = Judge::new(hook, &mut out, call.batch, when_full, &mut call.settled, &mut shut);
                match unfit.block.take() {
                    Some(unfit) => {
                        judge.settle_unfit(ring, &unfit);
                        None
                    }
                    None => judge.singles(ring, budget - done),
                }
            }
        };
        done += call.settled.frames() as usize;
        drop(call);
        let came = match judged {
            Some(Judged::All) => return done,
            Some(Judged::Unusual) => poll_whole(rx, hook, tx, when_full, batch, &mut shut),
            None if shut.has(0) => 0,
            None => short_way(rx, hook, tx, batch, budget - done, &mut unfit).unwrap_or(0),
        };
        done += came;
        if done >= budget && unfit.block.is_none() || judged.is_some() && came == 0 {
            return done;
        }
    }
}

/// What is judged, and left by the short way.
#[derive(Default)]
struct Left {
    block: Option<Unfit>,
    one: Option<Undone>,
}

/// [`long_way`] for virtqueues: `one` is the verdict on the next frame.
fn virtq_way<Q: RxQueue + ?Sized, H: Hook, T: TxQueue + ?Sized>(
    rx: &mut Q,
    hook: &mut H,
    tx: &mut [&mut T],
    when_full: WhenFull,
    batch: &mut Batch,
    (mut done, budget): (usize, usize),
    mut one: Option<Undone>,
) -> usize {
    let mut shut = Shut::default();
    loop {
        let code = one.map_or(0, |one| one.code);
        let is_new = one.is_none();
        let (now, judged) = virtq_run(rx, hook, tx, batch, budget - done, (code, shut.has(code)), &mut one);
        done += now;
        if let Some(undone) = one
            && (now == 0 && !is_new || code == undone.code)
        {
            // Not even the queue that it is for takes it where it lies.
            one = None;
            if !settle_undone(rx, tx, when_full, batch, &undone, &mut shut) {
                return done;
            }
            done += 1;
        } else if one.is_none() && judged == Judged::Unusual && done < budget {
            let came = poll_whole(rx, hook, tx, when_full, batch, &mut shut);
            done += came;
            if came == 0 {
                return done;
            }
        } else if one.is_none() {
            return done;
        }
        if done >= budget && one.is_none() {
            return done;
        }
    }
}

/// One run of [`judge_virtq`] with the queue that `code` is the number of, if there is one.
fn virtq_run<Q: RxQueue + ?Sized, H: Hook, T: TxQueue + ?Sized>(
    rx: &mut Q,
    hook: &mut H,
    tx: &mut [&mut T],
    batch: &mut Batch,
    budget: usize,
    (code, is_shut): (u8, bool),
    one: &mut Option<Undone>,
) -> (usize, Judged) {
    let mut call = Call { rx, batch, settled: Settled::default() };
    let Call { rx, batch, settled } = &mut call;
    let Some(queue) = tx.get_mut(usize::from(code)) else {
        return match rx.hook_begin().0 {
            RxWay::Virtq(from, rules) => judge_virtq((from, &rules), None, hook, (batch, settled), budget, one),
            _ => (0, Judged::All),
        };
    };
    // What goes out is counted as sent, and told apart when it is over.
    let mut out = Sent { tx: queue, settled: Settled::default(), total: settled, code };
    let RxWay::Virtq(from, rules) = rx.hook_begin().0 else { return (0, Judged::All) };
    if is_shut {
        return judge_virtq((from, &rules), None, hook, (batch, &mut out.settled), budget, one);
    }
    match out.tx.hook_begin(batch).0 {
        TxWay::Virtq(to, bytes) => judge_virtq((from, &rules), Some((to, code, bytes)), hook, (batch, &mut out.settled), budget, one),
        _ => judge_virtq((from, &rules), None, hook, (batch, &mut out.settled), budget, one),
    }
}

/// What a run with one transmit queue settled.
struct Sent<'a, 'b, T: TxQueue + ?Sized> {
    tx: &'a mut &'b mut T,
    settled: Settled,
    total: &'a mut Settled,
    code: u8,
}

impl<T: TxQueue + ?Sized> Drop for Sent<'_, '_, T> {
    fn drop(&mut self) {
        if self.settled.sent > 0 {
            self.tx.hook_end(self.settled.sent, self.settled.sent_bytes, false);
        }
        if self.code != 0 {
            self.settled.rest().redirected += core::mem::take(&mut self.settled.sent);
        }
        *self.total = self.settled;
    }
}

/// Does with a frame as a program does that has it: hands it up, or sends it. Returns whether it was there.
#[cold]
fn settle_undone<Q: RxQueue + ?Sized, T: TxQueue + ?Sized>(
    rx: &mut Q,
    tx: &mut [&mut T],
    when_full: WhenFull,
    batch: &mut Batch,
    undone: &Undone,
    shut: &mut Shut,
) -> bool {
    let mut call = Call { rx, batch, settled: Settled::default() };
    let Call { rx, batch, settled } = &mut call;
    let RxWay::Virtq(mut from, _) = rx.hook_begin().0 else { return false };
    settled.bytes = undone.bytes();
    let Some(frame) = from.take_judged(batch, undone) else {
        settled.bytes = 0;
        settled.rest().no_buffer += u32::from(from.drop_judged(undone));
        return settled.frames() > 0;
    };
    let sent = match tx.get_mut(usize::from(undone.code)) {
        Some(_) if shut.has(undone.code) => Err((frame, true)),
        Some(queue) if undone.code < Verdict::PASS => queue.hook_frame(frame),
        _ if undone.code == Verdict::PASS => {
            settled.rest().passed += u32::from(batch.push(frame).is_ok());
            return true;
        }
        _ => {
            settled.rest().aborted += 1;
            batch.recycle(frame);
            return true;
        }
    };
    match sent {
        Ok(()) if undone.code == 0 => settled.sent += 1,
        Ok(()) => settled.rest().redirected += 1,
        Err((frame, is_full)) => {
            if is_full {
                shut.add(undone.code);
            }
            settled.rest().full += 1;
            if when_full == WhenFull::HandUp {
                settled.rest().passed += u32::from(batch.push(frame).is_ok());
            } else {
                settled.rest().full_dropped += 1;
                batch.recycle(frame);
            }
        }
    }
    true
}

/// What a hook settled until it ended, or panicked.
struct Call<'a, Q: RxQueue + ?Sized> {
    rx: &'a mut Q,
    batch: &'a mut Batch,
    settled: Settled,
}

impl<Q: RxQueue + ?Sized> Call<'_, Q> {
    #[inline(always)]
    fn finish(&mut self) {
        if self.settled.frames() > 0 {
            self.rx.hook_end(&self.settled, self.batch);
        }
    }
}

impl<Q: RxQueue + ?Sized> Drop for Call<'_, Q> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The same with the queue that frames went to.
struct Short<'a, 'b, Q: RxQueue + ?Sized, T: TxQueue + ?Sized> {
    tx: &'a mut &'b mut T,
    call: Call<'a, Q>,
}

impl<Q: RxQueue + ?Sized, T: TxQueue + ?Sized> Short<'_, '_, Q, T> {
    #[inline(always)]
    fn send(&mut self) {
        if self.call.settled.sent > 0 {
            self.tx.hook_end(self.call.settled.sent, self.call.settled.sent_bytes, false);
        }
    }
    #[inline(always)]
    fn finish(&mut self) {
        self.send();
        self.call.finish();
    }
}

impl<Q: RxQueue + ?Sized, T: TxQueue + ?Sized> Drop for Short<'_, '_, Q, T> {
    fn drop(&mut self) {
        // What was received follows, with `call`.
        self.send();
    }
}

/// The transmit queues of a call.
struct Out<'a, 'b, T: ?Sized> {
    queues: &'a mut [&'b mut T],
}

impl<T: TxQueue + ?Sized> Outlets<TxRing> for Out<'_, '_, T> {
    #[inline(always)]
    fn open(&mut self, queue: u8, batch: &mut Batch) -> Opened<TxRing> {
        let Some(queue) = self.queues.get_mut(usize::from(queue)) else { return Opened::Missing };
        match queue.hook_begin(batch).0 {
            TxWay::Descriptors(ring) => Opened::Ring(NonNull::from(ring)),
            TxWay::Full => Opened::Full,
            TxWay::Whole | TxWay::Virtq(..) => Opened::Whole,
        }
    }

    #[inline(always)]
    fn close(&mut self, queue: u8, frames: u32, bytes: u64) {
        if let Some(queue) = self.queues.get_mut(usize::from(queue)) {
            queue.hook_end(frames, bytes, false);
        }
    }

    fn put_whole(&mut self, queue: u8, frame: Frame) -> Result<(), (Frame, bool)> {
        match self.queues.get_mut(usize::from(queue)) {
            Some(queue) => queue.hook_frame(frame),
            None => Err((frame, false)),
        }
    }
}

/// Polls one frame, and lets the hook judge it in the batch. Returns how many came.
#[cold]
#[inline(never)]
fn poll_whole<Q: RxQueue + ?Sized, H: Hook, T: TxQueue + ?Sized>(
    rx: &mut Q,
    hook: &mut H,
    tx: &mut [&mut T],
    when_full: WhenFull,
    batch: &mut Batch,
    shut: &mut Shut,
) -> usize {
    let before = batch.len();
    let came = rx.poll(batch, 1);
    let mut settled = Settled::default();
    if batch.len() == before {
        return came;
    }
    let Some(frame) = batch.frames_mut().last_mut() else { return came };
    let code = hook.verdict_whole(frame).code();
    settled.rest().whole = 1;
    if code == Verdict::PASS {
        settled.rest().whole_passed = 1;
    } else if let Some(frame) = batch.pop_back() {
        let sent = tx.get_mut(usize::from(code)).map(|tx| if shut.has(code) { Err((frame, true)) } else { tx.hook_frame(frame) });
        match sent {
            Some(Ok(())) if code == 0 => settled.sent = 1,
            Some(Ok(())) => settled.rest().redirected = 1,
            Some(Err((frame, is_full))) => {
                if is_full {
                    shut.add(code);
                }
                settled.rest().full = 1;
                if when_full == WhenFull::HandUp {
                    settled.rest().whole_passed = 1;
                    let _ = batch.push(frame);
                } else {
                    settled.rest().full_dropped = 1;
                    batch.recycle(frame);
                }
            }
            None if code == Verdict::DROP => settled.dropped = 1,
            None => settled.rest().aborted = 1,
        }
    }
    rx.hook_end(&settled, batch);
    came
}
