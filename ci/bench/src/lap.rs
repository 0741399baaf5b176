//! One lap: the stub receives, the program does its part, the stub sends.

use driver_core::buf::{Batch, BufPool, Checksum, Frame, Segmentation, SegmentationKind};
use driver_core::queue::{RxQueue, TxQueue, TxState};

use crate::circle::{Station, circle};
use crate::hook;
use crate::swap::swap;
use crate::workload::{Row, Shape, Workload};

/// The card's side of a lap.
pub(crate) trait Card {
    /// Receives `frames` frames.
    fn receive(&mut self, frames: usize);
    /// Sends everything up to the transmit tail and reports where it was asked to. Returns how many frames it sent.
    fn send(&mut self) -> usize;
}

/// What the measurements drive, whatever the driver.
pub(crate) trait Lap {
    /// Frames in one lap.
    fn frames(&self) -> usize;
    /// The cards receive.
    fn fill(&mut self);
    /// The part that is measured.
    fn driver_part(&mut self);
    /// The cards send, and all of it is checked to have been there.
    fn complete(&mut self);
    /// Tail writes until now, both directions.
    fn doorbells(&self) -> u64;
}

/// A driver's queues and its stub.
pub(crate) struct Port<R, T, C> {
    pub(crate) rx: R,
    pub(crate) tx: T,
    pub(crate) card: C,
    pub(crate) pool: BufPool,
}

impl<R: RxQueue + 'static, T: TxQueue + 'static, C> Port<R, T, C> {
    /// The same as the facade's ports have them.
    pub(crate) fn erased(self) -> Port<Box<dyn RxQueue>, Box<dyn TxQueue>, C> {
        let Self { rx, tx, card, pool } = self;
        Port { rx: Box::new(rx), tx: Box::new(tx), card, pool }
    }
}

/// A program, with the ports that it needs.
pub(crate) struct Bench<R, T, C> {
    row: Row,
    ports: Vec<Port<R, T, C>>,
    batch: Batch,
    /// For programs that have one for each direction.
    other: Batch,
    /// The places of three threads.
    stations: [Station; 3],
    /// What hooks have dropped until now.
    dropped: u64,
}

impl<R, T, C> Bench<R, T, C> {
    pub(crate) fn new(row: Row, ports: Vec<Port<R, T, C>>) -> Self {
        Self { row, ports, batch: Batch::new(row.batch), other: Batch::new(row.batch), stations: circle(16, row.batch), dropped: 0 }
    }

    /// The ports that frames come from.
    fn sources(&mut self) -> &mut [Port<R, T, C>] {
        let count = match self.row.workload {
            Workload::Send | Workload::LargeChain | Workload::LargeBuffers => 0,
            Workload::TwoPools | Workload::HookTwoPools => 1,
            _ => self.ports.len(),
        };
        &mut self.ports[..count]
    }
}

impl<R: RxQueue, T: TxQueue, C: Card> Lap for Bench<R, T, C> {
    fn frames(&self) -> usize {
        self.row.batch * if self.row.workload == Workload::BothWays { 2 } else { 1 }
    }

    fn fill(&mut self) {
        let frames = self.row.batch;
        self.sources().iter_mut().for_each(|port| port.card.receive(frames));
        if self.row.workload.is_large() {
            let (shape, Self { ports, batch, .. }) = (self.row.workload.shape(), self);
            for _ in 0..frames {
                batch.push(large(&ports[0].pool, shape)).expect("room for a lap's frames");
            }
        }
    }

    fn driver_part(&mut self) {
        let Self { row, ports, batch, other, stations, .. } = self;
        let budget = row.batch;
        for from in 0..if row.workload == Workload::BothWays { 2 } else { 1 } {
            let [rx, tx] = row.workload.way(from);
            // Two ports, or one twice.
            let (receive, rest) = ports.split_at_mut(1);
            let (Port { rx: first_rx, tx: first_tx, pool, .. }, second) = (&mut receive[0], rest.first_mut());
            let (rx, tx) = match (rx, tx, second) {
                (1, 0, Some(second)) => (&mut second.rx, first_tx),
                (0, 1, Some(second)) => (first_rx, &mut second.tx),
                _ => (first_rx, first_tx),
            };
            match row.workload {
                Workload::ForwardChecksums => measured_part_checksums(rx, tx, batch, budget),
                Workload::Drop => measured_part_drop(rx, batch, budget),
                Workload::DropRetain => measured_part_retain(rx, batch, budget),
                Workload::LargeChain | Workload::LargeBuffers => measured_part_large(tx, batch),
                Workload::Send => measured_part_send(tx, pool, batch, budget),
                Workload::TwoBatches => measured_part_two_batches(rx, tx, batch, other, budget),
                Workload::Pipeline => measured_part_pipeline(rx, tx, [batch, other], stations, budget),
                workload if workload.is_hook() => hook::measured(workload, rx, tx, batch, budget),
                _ => measured_part(rx, tx, batch, budget),
            }
        }
    }

    fn complete(&mut self) {
        let sent: usize = self.ports.iter_mut().map(|port| port.card.send()).sum();
        let wanted = match self.row.workload {
            Workload::Drop | Workload::DropRetain | Workload::HookPass => 0,
            Workload::HookQuarter | Workload::HookDrop => {
                let dropped = self.ports.iter().map(|port| port.rx.counters().hook.dropped).sum();
                self.frames() - std::mem::replace(&mut self.dropped, dropped).abs_diff(dropped) as usize
            }
            _ => self.frames(),
        };
        let faults: Vec<_> = self.ports.iter().map(|port| (port.rx.fault(), port.tx.fault())).collect();
        let received: u64 = self.ports.iter().map(|port| port.rx.counters().packets).sum();
        assert!(
            sent == wanted && self.batch.is_empty() && self.other.is_empty(),
            "{sent} of {wanted} frames were sent, {received} received: {faults:?}"
        );
    }

    fn doorbells(&self) -> u64 {
        self.ports.iter().map(|port| port.rx.counters().doorbells + port.tx.counters().doorbells).sum()
    }
}

/// Receive, swap, transmit. Callgrind counts what happens between entering and leaving this function, and those below with the same beginning.
#[inline(never)]
fn measured_part(rx: &mut impl RxQueue, tx: &mut impl TxQueue, batch: &mut Batch, budget: usize) {
    rx.poll(batch, budget);
    for frame in batch.frames_mut() {
        swap_addresses(frame);
    }
    submit(tx, batch);
}

/// Receive, swap, and transmit with a checksum that the card fills in: TCP over IPv4 without options.
#[inline(never)]
fn measured_part_checksums(rx: &mut impl RxQueue, tx: &mut impl TxQueue, batch: &mut Batch, budget: usize) {
    rx.poll(batch, budget);
    for frame in batch.frames_mut() {
        swap_addresses(frame);
        frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
    }
    submit(tx, batch);
}

/// Send what was made before.
#[inline(never)]
fn measured_part_large(tx: &mut impl TxQueue, batch: &mut Batch) {
    submit(tx, batch);
}

/// The longest packet of TCP over IPv4, in full buffers; what its bytes are, but for the headers, nobody looks at.
fn large(pool: &BufPool, shape: Shape) -> Frame {
    const MSS_BYTES: u16 = 1460;
    let mut headers = [0; 54];
    headers[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
    // The protocol, and how long TCP's header is.
    (headers[23], headers[46]) = (6, 0x50);
    let mut frame = pool.frame_from(&headers).expect("a buffer");
    let (rest, each) = (shape.frame_bytes as usize - headers.len(), shape.buffer_bytes as usize);
    let first = rest.min(each - headers.len());
    frame.put(first).expect("its room");
    let mut left = rest - first;
    while left > 0 {
        let mut next = pool.take().expect("a buffer");
        next.put(left.min(each)).expect("its room");
        frame.append(next);
        left -= left.min(each);
    }
    frame.set_segmentation(Some(Segmentation { kind: SegmentationKind::Tcp4, mss_bytes: MSS_BYTES, header_bytes: headers.len() as u16 }));
    frame
}

/// Receive and drop.
#[inline(never)]
fn measured_part_drop(rx: &mut impl RxQueue, batch: &mut Batch, budget: usize) {
    rx.poll(batch, budget);
    batch.clear();
}

/// Receive, and look at each frame before it is dropped.
#[inline(never)]
fn measured_part_retain(rx: &mut impl RxQueue, batch: &mut Batch, budget: usize) {
    rx.poll(batch, budget);
    // The stub's frames are zeros.
    batch.retain(|frame| frame.data().first().is_some_and(|&first| first != 0));
}

/// What is sent where nothing was received.
static PACKET: [u8; 60] = [0x5a; 60];

/// Make frames and send them.
#[inline(never)]
fn measured_part_send(tx: &mut impl TxQueue, pool: &BufPool, batch: &mut Batch, count: usize) {
    batch.fill(pool, count);
    // What is in it, the compiler does not know.
    let packet: &[u8; 60] = std::hint::black_box(&PACKET);
    for frame in batch.frames_mut() {
        if let Ok(place) = frame.put(packet.len()) {
            place.copy_from_slice(packet);
        }
    }
    submit(tx, batch);
}

/// Receive into one batch, send from another. What is transmitted comes back to the second, whose cache flows over into the pool.
#[inline(never)]
fn measured_part_two_batches(rx: &mut impl RxQueue, tx: &mut impl TxQueue, received: &mut Batch, sent: &mut Batch, budget: usize) {
    rx.poll(received, budget);
    while let Some(mut frame) = received.pop() {
        swap_addresses(&mut frame);
        if sent.push(frame).is_err() {
            cold_refusal();
        }
    }
    submit(tx, sent);
}

/// What `pipeline`'s threads do with one batch: receive, swap, transmit; the buffers of what was sent travel back with the batch.
#[inline(never)]
fn measured_part_pipeline(
    rx: &mut impl RxQueue,
    tx: &mut impl TxQueue,
    [received, sent]: [&mut Batch; 2],
    [receiver, worker, transmitter]: &mut [Station; 3],
    budget: usize,
) {
    if let Some(mut batch) = receiver.take() {
        rx.poll(received, budget);
        batch.take_from(received);
        receiver.pass(batch);
    }
    if let Some(mut batch) = worker.take() {
        batch.frames_mut().iter_mut().for_each(swap_addresses);
        worker.pass(batch);
    }
    if let Some(mut batch) = transmitter.take() {
        sent.take_from(&mut batch);
        transmitter.pass(batch);
        submit(tx, sent);
    }
}

#[inline(always)]
fn submit(tx: &mut impl TxQueue, batch: &mut Batch) {
    if tx.submit(batch) != TxState::Running {
        cold_refusal();
    }
}

/// What `Bench::complete` finds out about, and a frame that the stub does not send, are not worth a message here.
#[cold]
#[inline(never)]
fn cold_refusal() {}

/// Exchanges destination and source: one 16-byte load, a shuffle, one store.
#[inline(always)]
fn swap_addresses(frame: &mut Frame) {
    match frame.data_mut().first_chunk_mut::<16>() {
        Some(head) => swap(head),
        None => cold_refusal(),
    }
}
