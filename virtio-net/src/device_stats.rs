//! What the device counts by itself (VIRTIO_NET_F_DEVICE_STATS, from virtio 1.4: its 5.1.6.5.11), read by commands and added up from the start on.
//!
//! Every length and name in a reply is the device's word and is held to what was asked for: a reply that is wrong changes nothing.

use alloc::vec::Vec;

use driver_core::device::{ErrorKind, XStat};
use driver_core::host::PciFunction;
use driver_core::ring::CommandQueue;

use crate::ctrl::Ctrl;
use crate::error::HardwareError;
use crate::regs::{Features, ctrl, net};
use crate::transport::Transport;

/// struct virtio_net_stats_reply_hdr: type, reserved, vq_index of 16 bits, reserved of 16, size of 16.
const HEADER_BYTES: usize = 8;

/// One kind of statistics. Its number is that of its bit.
struct Kind {
    number: u8,
    /// One of these has to be negotiated, where there are any.
    needs: Features,
    /// The counters, of 64 bits, in the structure's order.
    names: &'static [&'static str],
}

const NOTHING: Features = Features::empty();
const RX: [Kind; 4] = [
    Kind { number: 0, needs: NOTHING, names: &["notifications", "packets", "bytes", "interrupts", "drops", "drop_overruns"] },
    Kind { number: 1, needs: Features::GUEST_CSUM, names: &["csum_valid", "needs_csum", "csum_none", "csum_bad"] },
    Kind {
        number: 2,
        needs: Features::GUEST_TSO4.union(Features::GUEST_TSO6),
        names: &["gso_packets", "gso_bytes", "gso_packets_coalesced", "gso_bytes_coalesced"],
    },
    Kind { number: 3, needs: NOTHING, names: &["packets_allowance_exceeded", "bytes_allowance_exceeded"] },
];
const TX: [Kind; 4] = [
    Kind { number: 16, needs: NOTHING, names: &["notifications", "packets", "bytes", "interrupts", "drops", "drop_malformed"] },
    Kind { number: 17, needs: Features::CSUM, names: &["csum_none", "needs_csum"] },
    Kind {
        number: 18,
        needs: Features::HOST_TSO4.union(Features::HOST_TSO6).union(Features::HOST_USO),
        names: &["gso_packets", "gso_bytes", "gso_segments", "gso_segments_bytes", "gso_packets_noseg", "gso_bytes_noseg"],
    },
    Kind { number: 19, needs: NOTHING, names: &["packets_allowance_exceeded", "bytes_allowance_exceeded"] },
];
const CONTROL: [Kind; 1] = [Kind { number: 32, needs: NOTHING, names: &["commands", "commands_ok"] }];
/// Where in receive queues' basic statistics the frames are that found no buffer.
const OVERRUNS: usize = 5;

/// A counter that wraps around (1.4, 5.1.6.5.11.12), from the start on.
#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    last: u64,
    total: u64,
}

/// What the device tells of one queue.
#[derive(Debug)]
struct Queue {
    index: u16,
    /// "rx", "tx", "ctrl", and which of those.
    of: (&'static str, usize),
    kinds: Vec<(&'static Kind, Vec<Counter>)>,
}

impl core::fmt::Debug for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.number)
    }
}

/// The statistics of every queue that is in use.
#[derive(Debug)]
pub(crate) struct DeviceStats {
    queues: Vec<Queue>,
    /// How often they could not be read.
    errors: u64,
}

impl DeviceStats {
    /// Those of a device that has just gone live: which it has of each queue, and where its counters stand. `None`: it has none. `counts`: receive and transmit queues that
    /// are in use; `control`: the control queue's index.
    ///
    /// # Errors
    /// [`HardwareError::Statistics`] where what it says makes no sense; those of a command.
    pub(crate) fn of<F: PciFunction>(
        ctrl: &mut Ctrl<F>,
        transport: &dyn Transport<F>,
        features: Features,
        counts: [u16; 2],
        control: u16,
    ) -> Result<Option<Self>, ErrorKind> {
        if !features.contains(Features::DEVICE_STATS) {
            return Ok(None);
        }
        let mut answer = [0; 1 + 8];
        let bytes = ctrl.ask(transport, ctrl::STATS_QUERY, &[], &mut answer)?;
        let (Some(told), true) = (answer[1..].first_chunk(), bytes == answer.len()) else {
            return Err(wrong(control, "the kinds that it has are cut off"));
        };
        let told = u64::from_le_bytes(*told);
        let queue = |of, index, kinds: &'static [Kind]| {
            let has = |kind: &&'static Kind| told >> kind.number & 1 != 0 && (kind.needs.is_empty() || features.intersects(kind.needs));
            let kinds: Vec<_> = kinds.iter().filter(has).map(|kind| (kind, alloc::vec![Counter::default(); kind.names.len()])).collect();
            (!kinds.is_empty()).then_some(Queue { index, of, kinds })
        };
        let rx = (0..counts[0]).filter_map(|pair| queue(("rx", pair.into()), net::receiveq(pair), &RX));
        let tx = (0..counts[1]).filter_map(|pair| queue(("tx", pair.into()), net::transmitq(pair), &TX));
        let mut stats = Self { queues: rx.chain(tx).chain(queue(("ctrl", 0), control, &CONTROL)).collect(), errors: 0 };
        stats.begin(ctrl, transport)?;
        Ok(Some(stats))
    }

    /// Behind a reset: from where the device's counters stand now it goes on.
    ///
    /// # Errors
    /// As [`DeviceStats::read`].
    pub(crate) fn begin<F: PciFunction>(&mut self, ctrl: &mut Ctrl<F>, transport: &dyn Transport<F>) -> Result<(), ErrorKind> {
        for queue in &mut self.queues {
            let told = queue.ask(ctrl, transport)?;
            queue.counters().zip(told).for_each(|(counter, now)| counter.last = now);
        }
        Ok(())
    }

    /// Adds up what was counted since the last look. What cannot be read is counted, and the first time told.
    pub(crate) fn read<F: PciFunction>(&mut self, ctrl: &mut Ctrl<F>, transport: &dyn Transport<F>) {
        if ctrl.is_stuck() {
            return;
        }
        for queue in &mut self.queues {
            match queue.ask(ctrl, transport) {
                Ok(told) => queue.counters().zip(told).for_each(|(counter, now)| {
                    counter.total = counter.total.wrapping_add(now.wrapping_sub(counter.last));
                    counter.last = now;
                }),
                Err(error) => {
                    if self.errors == 0 {
                        log::warn!("{}: its statistics stay as they were read last: {error}", transport.name());
                    }
                    self.errors += 1;
                    return;
                }
            }
        }
    }

    /// Frames that found no buffer; `None`: it does not tell.
    pub(crate) fn missed(&self) -> Option<u64> {
        let basic = self.queues.iter().flat_map(|queue| &queue.kinds).filter(|(kind, _)| kind.number == RX[0].number);
        let all: Vec<_> = basic.map(|(_, counters)| counters[OVERRUNS].total).collect();
        (!all.is_empty()).then(|| all.iter().sum())
    }

    /// All of them, by name.
    pub(crate) fn xstats(&self) -> Vec<XStat> {
        let mut all = Vec::new();
        for Queue { of: (direction, number), kinds, .. } in &self.queues {
            for (kind, counters) in kinds {
                all.extend(kind.names.iter().zip(counters).map(|(name, counter)| match *direction {
                    "ctrl" => XStat::new(alloc::format!("ctrl_device_{name}"), counter.total),
                    direction => XStat::of_queue(direction, *number, &alloc::format!("device_{name}"), counter.total),
                }));
            }
        }
        all.push(XStat::new("device_stats_errors", self.errors));
        all
    }
}

impl Queue {
    fn counters(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.kinds.iter_mut().flat_map(|(_, counters)| counters)
    }

    /// Asks for all kinds that the queue has: their counters, in the order of `kinds`.
    fn ask<F: PciFunction>(&self, ctrl: &mut Ctrl<F>, transport: &dyn Transport<F>) -> Result<Vec<u64>, ErrorKind> {
        let types = self.kinds.iter().fold(0u64, |types, (kind, _)| types | 1 << kind.number);
        // vq_index and what is reserved; types_bitmap.
        let wanted: [&[u8]; 3] = [&self.index.to_le_bytes(), &[0; 6], &types.to_le_bytes()];
        let mut answer = [0; CommandQueue::MAX_ANSWER_BYTES];
        let bytes = ctrl.ask(transport, ctrl::STATS_GET, &wanted, &mut answer)?;
        let reply = answer.get(1..bytes).ok_or(wrong(self.index, "more was answered than there is room for"))?;
        self.parse(reply).map_err(|what| wrong(self.index, what))
    }

    /// Takes a reply apart: each structure behind its header, in any order. One may be longer than is known here, and not shorter.
    fn parse(&self, mut reply: &[u8]) -> Result<Vec<u64>, &'static str> {
        let mut found: Vec<Option<&[u8]>> = alloc::vec![None; self.kinds.len()];
        while !reply.is_empty() {
            let Some((&[number, _, low, high, _, _, size_low, size_high], _)) = reply.split_first_chunk::<HEADER_BYTES>() else {
                return Err("a header is cut off");
            };
            if u16::from_le_bytes([low, high]) != self.index {
                return Err("they are another queue's");
            }
            let at = self.kinds.iter().position(|(kind, _)| kind.number == number).ok_or("they are of a kind that was not asked for")?;
            let size = usize::from(u16::from_le_bytes([size_low, size_high]));
            if size < HEADER_BYTES + 8 * self.kinds[at].0.names.len() {
                return Err("they are shorter than their kind");
            }
            let (this, next) = reply.split_at_checked(size).ok_or("they are longer than the answer")?;
            if found[at].replace(&this[HEADER_BYTES..]).is_some() {
                return Err("a kind is told twice");
            }
            reply = next;
        }
        let mut all = Vec::new();
        for ((kind, _), bytes) in self.kinds.iter().zip(found) {
            let words = bytes.ok_or("a kind is missing")?.chunks_exact(8).take(kind.names.len());
            all.extend(words.filter_map(|word| word.first_chunk().map(|&word| u64::from_le_bytes(word))));
        }
        Ok(all)
    }
}

fn wrong(queue: u16, what: &'static str) -> ErrorKind {
    HardwareError::Statistics { queue, what }.into()
}
