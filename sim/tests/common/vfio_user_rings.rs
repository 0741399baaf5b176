//! Input of `vfio_user_bytes` in which a card has rings, and sends and receives.
#![allow(dead_code, unreachable_pub)]

use proptest::prelude::*;

use super::bytes::{changed, encoded, moved};
use super::client::{access, dma_map};

/// Where the rings lie: transmit, receive, and for virtio their further areas behind them.
const TRANSMIT: u16 = 0x1000;
const RECEIVE: u16 = 0x4000;
const BUFFERS: u16 = 0x8000;
const SLOTS: u16 = 16;

fn write(region: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    encoded(0, false, 10, 16, &access(region, offset, data.len() as u32, data))
}

/// The card's memory, by descriptor or by message, and bus mastering.
fn attached(how: u8, shared: bool) -> Vec<u8> {
    let map = dma_map(3, 0, 0, 1 << 16);
    [vec![1 | how], encoded(shared.into(), false, 2, 0, &map), moved(true), write(7, 4, &[6, 0])].concat()
}

fn register(offset: u64, value: u32) -> Vec<u8> {
    write(0, offset, &value.to_le_bytes())
}

/// An ixgbe that sends a frame and receives one.
pub fn ixgbe(how: u8, shared: bool) -> Vec<u8> {
    let mut input = attached(how & !2, shared);
    let ring = |block: u64, at: u16| [(block, at.into()), (block + 4, 0), (block + 8, u32::from(SLOTS) * 16)];
    let mut registers = vec![(0x4A80, 1), (0x2F00, 2), (0x5080, 0x702)];
    registers.extend(ring(0x6000, TRANSMIT));
    registers.extend(ring(0x1000, RECEIVE));
    registers.extend([(0x1014, 1 << 25 | 2), (0x6028, 1 << 25), (0x1028, 1 << 25), (0x3000, 1)]);
    input.extend(registers.into_iter().flat_map(|(offset, value)| register(offset, value)));
    input.extend(moved(false));
    let data = 60 | 3 << 20 | (1 << 29 | 1 << 27 | 1 << 25 | 1 << 24) | 60 << 46;
    input.extend(changed(TRANSMIT, &words(&[BUFFERS.into(), data])));
    for slot in 0..SLOTS {
        input.extend(changed(RECEIVE + 16 * slot, &words(&[u64::from(BUFFERS) + 2048 * u64::from(slot), 0])));
    }
    input.extend(register(0x1018, u32::from(SLOTS) - 1));
    input.extend(register(0x6018, 1));
    input.extend(moved(false));
    input.extend(moved(true));
    input
}

/// A virtio card that sends a frame and receives one.
pub fn virtio(how: u8, shared: bool) -> Vec<u8> {
    let mut input = attached(how | 2, shared);
    // VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM.
    for (offset, data) in [(20, vec![1]), (20, vec![3]), (8, vec![1, 0, 0, 0]), (12, vec![3, 0, 0, 0]), (20, vec![11])] {
        input.extend(write(4, offset, &data));
    }
    for (queue, at) in [(0, RECEIVE), (1, TRANSMIT)] {
        input.extend(write(4, 22, &[queue, 0]));
        input.extend(write(4, 24, &SLOTS.to_le_bytes()));
        for (field, area) in [(32, at), (40, at + 0x400), (48, at + 0x800)] {
            input.extend(write(4, field, &u32::from(area).to_le_bytes()));
        }
        input.extend(write(4, 28, &[1, 0]));
    }
    input.extend(write(4, 20, &[15]));
    for slot in 0..SLOTS {
        input.extend(changed(RECEIVE + 16 * slot, &words(&[u64::from(BUFFERS) + 2048 * u64::from(slot), 2048 | 2 << 32])));
        input.extend(changed(RECEIVE + 0x404 + 2 * slot, &slot.to_le_bytes()));
    }
    input.extend(changed(TRANSMIT, &words(&[BUFFERS.into(), 72])));
    input.extend(changed(RECEIVE + 0x402, &SLOTS.to_le_bytes()));
    input.extend(changed(TRANSMIT + 0x402, &[1, 0]));
    input.extend(write(4, 0x3000, &[0, 0]));
    input.extend(write(4, 0x3004, &[1, 0]));
    input.extend(moved(false));
    input.extend(moved(true));
    input
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A word as rings hold it: addresses, lengths, flags, indexes.
fn word() -> impl Strategy<Value = u64> {
    let address = prop_oneof![0..1u64 << 16, Just(0), Just(1 << 16), any::<u64>()];
    let lengths =
        (0..3000u64, 0..256u64, 0..256u64, 0..3000u64).prop_map(|(len, kind, command, payload)| len | kind << 20 | command << 24 | payload << 46);
    let chained = (0..3000u64, 0..8u64, 0..16u64).prop_map(|(len, flags, next)| len | flags << 32 | next << 48);
    prop_oneof![address, lengths, chained, 0..16u64]
}

/// A descriptor as it comes, mostly one that makes sense by itself.
fn descriptor(on_virtio: bool) -> impl Strategy<Value = [u64; 2]> {
    let sensible = (0..1u64 << 16, 0..1600u64, 0..8u64, 0..u64::from(SLOTS) + 1).prop_map(move |(address, len, bits, next)| {
        // NEXT and WRITE, rarely INDIRECT; EOP, RS and TSE.
        let chained = len | (bits % 5) << 32 | next << 48;
        let data = len | 3 << 20 | (1 << 29 | 1 << 25 | (bits & 1) << 24 | (bits >> 1 & 1) << 27 | (bits >> 2) << 31) | len << 46;
        [address, if on_virtio { chained } else { data }]
    });
    prop_oneof![3 => sensible, 1 => (word(), word()).prop_map(|(low, high)| [low, high])]
}

/// Descriptors, and that the card is told of them.
fn submitted(on_virtio: bool) -> impl Strategy<Value = Vec<u8>> {
    let descriptors = prop::collection::vec((0..SLOTS, descriptor(on_virtio)), 0..6);
    (0..2u8, descriptors, prop::collection::vec(0..SLOTS + 1, 1..4), 0..SLOTS + 2).prop_map(move |(queue, descriptors, heads, index)| {
        let at = [RECEIVE, TRANSMIT][usize::from(queue)];
        let mut input: Vec<u8> = descriptors.iter().flat_map(|(slot, words_of)| changed(at + 16 * slot, &words(words_of))).collect();
        if on_virtio {
            // The first entry of the transmit queue is used already.
            let entries: Vec<u8> = heads.iter().flat_map(|head| head.to_le_bytes()).collect();
            input.extend(changed(at + 0x404 + 2 * u16::from(queue), &entries));
            input.extend(changed(at + 0x402, &index.to_le_bytes()));
            input.extend(write(4, 0x3000 + 4 * u64::from(queue), &[queue, 0]));
        } else {
            input.extend(register([0x1018, 0x6018][usize::from(queue)], index.into()));
        }
        input.extend(moved(false));
        input
    })
}

/// A register of a ring that is in use is written.
fn registers(on_virtio: bool) -> impl Strategy<Value = Vec<u8>> {
    let common = [(20, 1), (22, 2), (24, 2), (26, 2), (28, 2), (30, 2), (32, 4), (36, 4), (40, 4), (44, 4), (48, 4), (52, 4)];
    let rings = [0x0, 0x4, 0x8, 0x8, 0x10, 0x14, 0x18, 0x28, 0x38].iter().flat_map(|field| [0x1000 + field, 0x6000 + field]);
    let (region, fields): (u32, Vec<(u64, usize)>) =
        if on_virtio { (4, common.to_vec()) } else { (0, rings.chain([0x3000, 0x5080]).map(|offset| (offset, 4)).collect()) };
    let value = prop_oneof![0..16u32, Just(1 << 25), Just(128), Just(0x1000), any::<u32>()];
    (prop::sample::select(fields), value).prop_map(move |((offset, width), value)| write(region, offset, &value.to_le_bytes()[..width]))
}

/// Memory of rings that are in use changes.
fn memory() -> impl Strategy<Value = Vec<u8>> {
    let place = (prop_oneof![Just(TRANSMIT), Just(RECEIVE)], prop::sample::select(vec![0, 0x400, 0x402, 0x404, 0x800]), 0..20u16);
    let bytes = (word(), word(), prop::sample::select(vec![2usize, 8, 16]));
    (place, bytes).prop_map(|((ring, area, slot), (low, high, len))| changed(ring + area + 16 * slot, &words(&[low, high])[..len]))
}

/// What happens to rings that are in use.
fn happening(on_virtio: bool) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => submitted(on_virtio),
        2 => registers(on_virtio),
        2 => memory(),
        1 => Just(moved(false)),
        1 => Just(encoded(0, false, 9, 0, &access(if on_virtio { 4 } else { 0 }, 0x10, 4, &[]))),
    ]
}

/// Rings in use to which anything happens.
pub fn rings() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), any::<bool>(), 0..8u8).prop_flat_map(|(on_virtio, shared, answers)| {
        let start = if on_virtio { virtio(answers << 2, shared) } else { ixgbe(answers << 2, shared) };
        prop::collection::vec(happening(on_virtio), 0..24).prop_map(move |steps| [start.clone(), steps.concat(), moved(false)].concat())
    })
}
