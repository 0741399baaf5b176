use std::sync::atomic::Ordering;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::buf::batch::Batch;
use crate::buf::frame::{Frame, FrameError};
use crate::buf::meta::{self, Checksum, FlowMatch, LEN_SHIFT, Rss, RssKind, VLAN_VALID};
use crate::buf::pool::{BufPool, PoolConfig};
use crate::testing::domain;

/// 32 buffers of 64 bytes with 64 bytes of headroom: small enough that chains and exhaustion are common.
fn small_pool() -> BufPool {
    BufPool::new(&domain().0, PoolConfig { buffers: 32, data_bytes: 64, headroom_bytes: 64 }).unwrap()
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

#[derive(Debug, Clone)]
enum Verb {
    Put(Vec<u8>),
    Push(Vec<u8>),
    Pull(usize),
    Trim(usize),
    Reserve(usize),
    Extend(Vec<u8>),
    AppendCopy,
    SplitRest,
    Linearize,
    Copy,
    Overwrite(u8),
    Store(usize, Vec<u8>),
    Load(usize, usize),
    ThroughThread,
    SetVlan(u16),
    ThroughBatch,
}

fn verb() -> impl Strategy<Value = Verb> {
    let bytes = |n| proptest::collection::vec(any::<u8>(), 0..n);
    prop_oneof![
        bytes(70).prop_map(Verb::Put),
        bytes(70).prop_map(Verb::Push),
        (0usize..90).prop_map(Verb::Pull),
        (0usize..300).prop_map(Verb::Trim),
        (0usize..70).prop_map(Verb::Reserve),
        bytes(200).prop_map(Verb::Extend),
        Just(Verb::AppendCopy),
        Just(Verb::SplitRest),
        Just(Verb::Linearize),
        Just(Verb::Copy),
        any::<u8>().prop_map(Verb::Overwrite),
        (0usize..300, bytes(70)).prop_map(|(at, bytes)| Verb::Store(at, bytes)),
        (0usize..300, 0usize..150).prop_map(|(at, len)| Verb::Load(at, len)),
        Just(Verb::ThroughThread),
        any::<u16>().prop_map(Verb::SetVlan),
        Just(Verb::ThroughBatch),
    ]
}

/// Does `verb` to the frame and to a plain vector. A verb that fails must leave the frame as it was.
fn apply(pool: &BufPool, frame: Frame, model: &mut Vec<u8>, verb: Verb) -> Frame {
    let mut frame = frame;
    let before = bytes_of(&frame);
    match verb {
        Verb::Put(bytes) => match frame.put(bytes.len()) {
            Ok(room) => {
                room.copy_from_slice(&bytes);
                model.extend(bytes);
            }
            Err(_) => assert_eq!(bytes_of(&frame), before),
        },
        Verb::Push(bytes) => match frame.push(bytes.len()) {
            Ok(room) => {
                room.copy_from_slice(&bytes);
                model.splice(0..0, bytes);
            }
            Err(_) => assert_eq!(bytes_of(&frame), before),
        },
        Verb::Pull(n) => match frame.pull(n) {
            Ok(()) => drop(model.drain(..n)),
            Err(_) => assert!(n > frame.linear_len()),
        },
        Verb::Trim(n) => match frame.trim(n) {
            Ok(()) => model.truncate(n),
            Err(_) => assert!(n > model.len()),
        },
        Verb::Reserve(n) => {
            let room = (frame.headroom(), frame.tailroom());
            match frame.reserve(n) {
                Ok(()) => assert_eq!((frame.headroom(), frame.tailroom()), (room.0 + n, room.1 - n)),
                Err(_) => assert!(!model.is_empty() || n > room.1),
            }
        }
        Verb::Extend(bytes) => {
            // What was copied until the pool ran dry stays.
            let had = model.len();
            model.extend(bytes);
            if frame.extend_from_slice(pool, &model[had..]).is_err() {
                model.truncate(frame.len());
            }
        }
        Verb::AppendCopy => {
            if let Ok(copy) = frame.copy(pool) {
                frame.append(copy);
                model.extend_from_within(..);
            }
        }
        Verb::SplitRest => {
            let first = frame.linear_len();
            let rest = frame.split_rest().map_or_else(Vec::new, |rest| bytes_of(&rest));
            assert_eq!(rest, model.split_off(first));
        }
        Verb::Linearize => {
            if frame.linearize().is_ok() {
                assert!(frame.is_linear());
            }
        }
        Verb::Copy => {
            if let Ok(copy) = frame.copy(pool) {
                assert_eq!(copy.vlan(), frame.vlan());
                frame = copy;
            }
        }
        Verb::Overwrite(value) => {
            let n = frame.linear_len();
            frame.data_mut().fill(value);
            model[..n].fill(value);
        }
        Verb::Store(at, bytes) => match (frame.store(at, &bytes), model.get_mut(at..at + bytes.len())) {
            (Ok(()), Some(there)) => there.copy_from_slice(&bytes),
            (Err(error), None) => assert_eq!(error, FrameError::Short { wanted_bytes: at + bytes.len(), have_bytes: model.len() }),
            (stored, _) => panic!("{stored:?} at {at} of {}", model.len()),
        },
        Verb::Load(at, len) => {
            let mut bytes = vec![0; len];
            match frame.load(at, &mut bytes) {
                Ok(()) => assert_eq!(Some(&bytes[..]), model.get(at..at + len)),
                Err(_) => assert!(at + len > model.len() && bytes.iter().all(|&byte| byte == 0)),
            }
        }
        Verb::ThroughThread => frame = std::thread::spawn(move || frame).join().unwrap(),
        Verb::SetVlan(tag) => {
            frame.set_vlan(Some(tag));
            assert_eq!(frame.vlan(), Some(tag));
        }
        Verb::ThroughBatch => {
            let mut batch = Batch::new(1);
            batch.push(frame).unwrap();
            frame = batch.pop().unwrap();
        }
    }
    frame
}

proptest! {
    #![proptest_config(crate::testing::cases())]
    #[test]
    fn every_sequence_of_verbs_keeps_the_bytes_and_loses_no_buffer(
        sequences in proptest::collection::vec(proptest::collection::vec(verb(), 1..25), 1..4), headroom_bytes in prop_oneof![Just(0u32), Just(64), Just(128)]
    ) {
        let pool = BufPool::new(&domain().0, PoolConfig { buffers: 32, data_bytes: 64, headroom_bytes }).unwrap();
        let mut kept = Vec::new();
        for verbs in sequences {
            let Some(mut frame) = pool.take() else { break };
            let mut model = Vec::new();
            for verb in verbs {
                frame = apply(&pool, frame, &mut model, verb);
                prop_assert_eq!(bytes_of(&frame), model.clone());
                prop_assert_eq!(frame.len(), model.len());
                prop_assert_eq!(frame.headroom() + frame.linear_len() + frame.tailroom(), headroom_bytes as usize + 64);
            }
            kept.push((frame, model));
        }
        for (frame, model) in &kept {
            prop_assert_eq!(&bytes_of(frame), model, "another frame's verbs changed this one");
        }
        drop(kept);
        prop_assert_eq!(pool.available(), pool.len());
    }
}

#[test]
fn metadata_is_decoded_from_the_words_and_survives_the_move_to_private_memory() {
    let pool = small_pool();
    let mut frame = pool.take().unwrap();
    let w0 = 0xdead_beef << 32 | 5 << meta::QUEUE_SHIFT | 1;
    let w1 = 7 << meta::VLAN_SHIFT | 60 << LEN_SHIFT | meta::VLAN_VALID | meta::L4_CHECKED | meta::IP_CHECKED | 3;
    frame.set_received([w0, w1]).unwrap();
    let check = |frame: &Frame| {
        assert_eq!(frame.len(), 60);
        assert_eq!(frame.rss(), Some(Rss { hash: 0xdead_beef, kind: RssKind::Tcp }));
        assert_eq!((frame.rx_queue(), frame.vlan(), frame.checksum()), (5, Some(7), Checksum::Good));
    };
    check(&frame);
    frame.set_timestamp_ns(Some(99));
    check(&frame);
    assert_eq!(frame.timestamp_ns(), Some(99));
    let copy = frame.copy(&pool).unwrap();
    check(&copy);
}

#[test]
fn the_words_say_what_the_device_found_of_the_checksum() {
    let (l4, ip) = (meta::L4_CHECKED, meta::IP_CHECKED);
    for (w0, w1, wanted) in [
        (0, 0, Checksum::Unknown),
        (0, meta::L4_BAD | meta::IP_BAD, Checksum::Unknown),
        (0, ip, Checksum::Unknown),
        (0, l4, Checksum::Good),
        (0, l4 | ip, Checksum::Good),
        (0, l4 | ip | meta::L4_BAD, Checksum::Bad),
        (0, l4 | ip | meta::IP_BAD, Checksum::Bad),
        (0, ip | meta::IP_BAD, Checksum::Bad),
        (meta::UDP, l4 | ip, Checksum::Good),
        (meta::UDP, l4 | ip | meta::L4_BAD, Checksum::Unknown),
        (meta::UDP, l4 | ip | meta::IP_BAD, Checksum::Bad),
        (2 << meta::COALESCED_SHIFT, l4 | ip, Checksum::Good),
        (3 << meta::COALESCED_SHIFT, l4 | ip, Checksum::GoodButUnsure),
        (3 << meta::COALESCED_SHIFT, l4 | ip | meta::L4_BAD, Checksum::Bad),
    ] {
        let mut frame = small_pool().take().unwrap();
        frame.set_received([w0, w1]).unwrap();
        assert_eq!(frame.checksum(), wanted, "{w0:#x} {w1:#x}");
        assert!(!frame.wants_offload());
        frame.set_timestamp_ns(None);
        assert_eq!(frame.checksum(), wanted, "in private memory: {w0:#x} {w1:#x}");
    }
}

#[test]
fn a_flow_filters_mark_is_no_hash_and_coalesced_segments_are_counted() {
    let mut frame = small_pool().take().unwrap();
    let of = |frame: &Frame| (frame.rss(), frame.flow_match(), frame.coalesced(), frame.rx_queue());
    let hash = Some(Rss { hash: 7, kind: RssKind::Udp });
    for (w0, w1, wanted) in [
        (7 << 32 | 15, 0, (None, None, None, 0)),
        (7 << 32 | 15, meta::FLOW_MATCH, (None, Some(FlowMatch { mark: Some(7) }), None, 0)),
        (7 << 32 | 8, meta::FLOW_MATCH, (hash, Some(FlowMatch { mark: None }), None, 0)),
        (7 << 32 | 8 | 15 << meta::COALESCED_SHIFT | 0x3ff << meta::QUEUE_SHIFT, 0, (hash, None, Some(14), 0x3ff)),
        (1 << meta::COALESCED_SHIFT, 0, (None, None, None, 0)),
    ] {
        frame.set_received([w0, w1]).unwrap();
        assert_eq!(of(&frame), wanted);
        frame.set_timestamp_ns(None);
        assert_eq!(of(&frame), wanted, "in private memory");
    }
    frame.set_flow_match(Some(FlowMatch { mark: None }));
    frame.set_coalesced(Some(40));
    frame.set_split_header_bytes(Some(54));
    assert_eq!((of(&frame), frame.split_header_bytes()), ((None, Some(FlowMatch { mark: None }), Some(40), 0), Some(54)));
    assert!(!frame.wants_offload());
}

/// What receive left in a frame's private memory is not what the next one in its buffer says.
#[test]
fn received_words_replace_metadata_and_segments() {
    let pool = small_pool();
    let mut frame = pool.frame_from(&[1; 200]).unwrap();
    frame.set_checksum(Checksum::Bad);
    frame.set_received([0, 20 << LEN_SHIFT | 9 << meta::VLAN_SHIFT | meta::VLAN_VALID]).unwrap();
    assert_eq!((frame.len(), frame.checksum(), frame.vlan(), frame.is_linear()), (20, Checksum::Unknown, Some(9), true));
    assert_eq!(pool.available(), 31);
    frame.set_received([0, 20 << LEN_SHIFT]).unwrap();
    assert_eq!((frame.vlan(), frame.wants_offload()), (None, false));
}

#[test]
fn a_device_cannot_claim_more_bytes_than_the_buffer_has() {
    let pool = small_pool();
    let mut frame = pool.take().unwrap();
    assert_eq!(frame.set_received([0, 65 << LEN_SHIFT]), Err(FrameError::Tailroom { wanted_bytes: 65, have_bytes: 64 }));
    assert!(frame.is_empty());
    frame.set_received([0, 64 << LEN_SHIFT]).unwrap();
    frame.pull(10).unwrap();
    assert_eq!(frame.set_received([0, 55 << LEN_SHIFT]), Err(FrameError::Tailroom { wanted_bytes: 55, have_bytes: 54 }));
}

#[test]
fn the_pools_memory_goes_with_the_last_frame_on_whatever_thread() {
    let (domain, mapper) = domain();
    let pool = BufPool::new(&domain, PoolConfig::new(4)).unwrap();
    let frame = pool.take().unwrap();
    let mut batch = Batch::new(2);
    assert_eq!(batch.fill(&pool, 1), 1);
    drop(pool.clone());
    drop(pool);
    assert_eq!(mapper.alive.load(Ordering::SeqCst), 1, "a frame and a batch still use it");
    drop(batch);
    std::thread::spawn(move || drop(frame)).join().unwrap();
    assert_eq!(mapper.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn threads_take_and_drop_frames_without_losing_one() {
    let frames = if cfg!(miri) { 200 } else { 20_000 };
    let pool = BufPool::new(&domain().0, PoolConfig::new(256)).unwrap();
    let (to, from) = std::sync::mpsc::sync_channel::<Frame>(64);
    let taker = {
        let pool = pool.clone();
        std::thread::spawn(move || {
            let mut sent = 0u32;
            while sent < frames {
                let Some(mut frame) = pool.take() else { continue };
                frame.put(4).unwrap().copy_from_slice(&sent.to_le_bytes());
                to.send(frame).unwrap();
                sent += 1;
            }
        })
    };
    let mut batch = Batch::new(32);
    for (expected, frame) in from.iter().enumerate() {
        assert_eq!(frame.data(), (expected as u32).to_le_bytes());
        batch.recycle(frame);
    }
    taker.join().unwrap();
    drop(batch);
    assert_eq!(pool.available(), 256);
}

#[test]
fn a_chain_of_every_buffer_is_dropped_without_recursion() {
    let buffers = if cfg!(miri) { 300 } else { 50_000 };
    let pool = BufPool::new(&domain().0, PoolConfig { buffers, data_bytes: 64, headroom_bytes: 0 }).unwrap();
    let mut chain = pool.take().unwrap();
    while let Some(mut frame) = pool.take() {
        frame.append(chain);
        chain = frame;
    }
    let on_a_small_stack = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || drop(chain)).unwrap();
    on_a_small_stack.join().unwrap();
    assert_eq!(pool.available(), buffers);
}

#[test]
fn a_frame_whose_start_reaches_its_buffers_end_is_still_in_its_own_buffer() {
    for (data_bytes, headroom_bytes) in [(2048, 64), (2048, 128), (64, 0), (128, 64)] {
        let pool = BufPool::new(&domain().0, PoolConfig { buffers: 2, data_bytes, headroom_bytes }).unwrap();
        let mut frames = [pool.take().unwrap(), pool.take().unwrap()];
        for frame in &mut frames {
            frame.put(data_bytes as usize).unwrap();
            frame.pull(data_bytes as usize).unwrap();
            assert_eq!((frame.headroom(), frame.tailroom()), ((headroom_bytes + data_bytes) as usize, 0));
            frame.set_vlan(Some(1));
        }
        drop(frames);
        assert_eq!(pool.available(), 2);
    }
}

#[test]
fn a_pool_without_buffers_or_bytes_is_refused() {
    for (buffers, data_bytes, headroom_bytes) in [(0, 2048, 64), (4, 0, 64), (4, 65536, 64), (4, 2048, 8192)] {
        let error = BufPool::new(&domain().0, PoolConfig { buffers, data_bytes, headroom_bytes }).unwrap_err();
        assert!(alloc::format!("{error}").contains("cannot be made"));
    }
}

/// What a frame asks for is in its words, and a device's words ask for nothing, whatever they are.
#[test]
fn what_is_asked_for_is_said_by_tags() {
    let pool = BufPool::new(&domain().0, PoolConfig::new(8)).unwrap();
    let partial = Checksum::Partial { start: 1023, offset: 63 };
    let mut frame = pool.frame_from(&[0; 60]).unwrap();
    frame.set_received([0, 60 << LEN_SHIFT | !(0xffff << LEN_SHIFT) & !VLAN_VALID]).unwrap();
    assert!(!frame.wants_offload() && frame.checksum() == Checksum::Bad);
    frame.set_checksum(partial);
    assert_eq!((frame.checksum(), frame.wants_offload(), frame.vlan(), frame.len()), (partial, true, None, 60));
    frame.set_vlan(Some(0xabcd));
    assert_eq!((frame.checksum(), frame.vlan()), (partial, Some(0xabcd)));
    // Metadata of its own leaves both as they are, and so does a copy.
    frame.set_timestamp_ns(Some(7));
    assert_eq!((frame.checksum(), frame.vlan()), (partial, Some(0xabcd)));
    let mut copy = frame.copy(&pool).unwrap();
    assert_eq!((copy.checksum(), copy.vlan(), copy.timestamp_ns()), (partial, Some(0xabcd), Some(7)));
    copy.set_vlan(None);
    copy.set_checksum(Checksum::Good);
    assert_eq!((copy.checksum(), copy.vlan(), copy.wants_offload()), (Checksum::Good, None, false));
    // What the words have no room for lies apart.
    let far = Checksum::Partial { start: 1024, offset: 64 };
    frame.set_checksum(far);
    assert_eq!(frame.checksum(), far);
    frame.set_received([0, 60 << LEN_SHIFT]).unwrap();
    assert_eq!((frame.checksum(), frame.wants_offload()), (Checksum::Unknown, false));
}
