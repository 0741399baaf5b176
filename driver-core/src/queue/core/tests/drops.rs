//! Transmit for programs that go on whatever they were given to send.

use std::vec;
use std::vec::Vec;

use super::tx_script::{CAPACITY, FAULT, MTU, Rig, default_gate, rig, rig_doing};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::meta::Checksum;
use crate::offload::Work;
use crate::queue::contract::{TxQueue, TxState};
use crate::queue::refusal::{Refusal, TxDrops};

/// Puts a frame of `len_bytes` into the batch for each, which begins with its number.
fn put<const COUNTS: bool>(rig: &Rig<COUNTS>, batch: &mut Batch, lens_bytes: &[usize]) {
    for (number, &len_bytes) in (0..).zip(lens_bytes) {
        batch.push(rig.pool.frame_from(&vec![number; len_bytes]).unwrap()).unwrap();
    }
}

/// The numbers of frames.
fn numbers<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    frames.into_iter().map(|frame| frame[0]).collect()
}

fn queued<const COUNTS: bool>(rig: &Rig<COUNTS>) -> Vec<u8> {
    numbers(rig.script.state().queued.iter().map(Vec::as_slice))
}

const LONG: usize = MTU as usize + 15;
const TOO_LONG: Refusal = Refusal::TooLong { len_bytes: LONG, max_bytes: MTU as usize + 14 };

fn the_others_get_their_turn<const COUNTS: bool>() {
    let (mut rig, mut batch, mut drops) = (rig::<COUNTS>(default_gate()), Batch::new(16), TxDrops::new());
    put(&rig, &mut batch, &[5, 60, LONG, 60, 60, 1, 13, 300, LONG]);
    assert_eq!(rig.tx.submit_or_drop(&mut batch, &mut drops), Ok(4));
    assert_eq!((queued(&rig), batch.len()), (vec![1, 3, 4, 7], 0));
    assert_eq!(drops.by_cause().collect::<Vec<_>>(), [(Refusal::TooShort { len_bytes: 5 }, 3), (TOO_LONG, 2)], "the first of each speaks for all");
    assert_eq!(rig.tx.counters().packets, 4, "what was dropped the queue has not taken");
    assert_eq!(batch.cache().count(&rig.pool), 5, "the buffers of what was dropped are at hand");
    assert_eq!(rig.tx.submit_or_drop(&mut batch, &mut drops), Ok(0));
}

#[test]
fn frames_that_cannot_be_sent_hold_up_nobody() {
    the_others_get_their_turn::<true>();
    the_others_get_their_turn::<false>();
}

fn the_rest_waits<const COUNTS: bool>() {
    let (mut rig, mut batch, mut drops) = (rig::<COUNTS>(default_gate()), Batch::new(32), TxDrops::new());
    let mut lens_bytes = [60; 20];
    (lens_bytes[3], lens_bytes[17]) = (5, LONG);
    put(&rig, &mut batch, &lens_bytes);
    assert_eq!(rig.tx.submit_or_drop(&mut batch, &mut drops), Ok(CAPACITY as usize));
    for _ in 0..2 {
        let waiting = numbers(batch.frames().iter().map(Frame::data));
        assert_eq!((waiting, drops.frames()), (vec![16, 17, 18, 19], 1), "nothing that has not had its turn is dropped");
        assert_eq!(rig.tx.submit_or_drop(&mut batch, &mut drops), Ok(0));
    }
    rig.all_sent();
    assert_eq!((rig.tx.submit_or_drop(&mut batch, &mut drops), batch.len()), (Ok(3), 0));
    assert_eq!(queued(&rig), (0..20).filter(|number| ![3, 17].contains(number)).collect::<Vec<_>>());
    assert_eq!(drops.by_cause().collect::<Vec<_>>(), [(Refusal::TooShort { len_bytes: 5 }, 1), (TOO_LONG, 1)]);
}

#[test]
fn a_full_ring_loses_nothing() {
    the_rest_waits::<true>();
    the_rest_waits::<false>();
}

#[test]
fn a_broken_queue_drops_nothing() {
    let (mut rig, mut batch, mut drops) = (rig::<true>(default_gate()), Batch::new(16), TxDrops::new());
    put(&rig, &mut batch, &[5, 60]);
    rig.script.state().fault = Some(FAULT);
    assert_eq!(rig.tx.submit_or_drop(&mut batch, &mut drops), Err(FAULT));
    assert_eq!((batch.len(), drops.frames()), (2, 0));
}

/// A device that does some of it, and a queue that is to do some of the rest.
#[test]
fn what_software_is_not_to_do_is_refused_by_name_and_not_touched() {
    let (mut batch, all) = (Batch::new(4), Work::CHECKSUM | Work::VLAN);
    for does in [Work::empty(), Work::CHECKSUM, Work::VLAN, all, Work::SCTP_CRC] {
        for software in [Work::empty(), Work::CHECKSUM, Work::VLAN, all, Work::SCTP_CRC, Work::SCTP_CRC | Work::VLAN] {
            for asked in [Work::CHECKSUM, Work::VLAN, all, Work::SCTP_CRC, Work::SCTP_CRC | Work::VLAN] {
                let mut rig = rig_doing(default_gate(), software);
                rig.script.state().does = does;
                put(&rig, &mut batch, &[100]);
                let frame = &mut batch.frames_mut()[0];
                if asked.contains(Work::CHECKSUM) {
                    frame.set_checksum(Checksum::Partial { start: 34, offset: 6 });
                }
                if asked.contains(Work::SCTP_CRC) {
                    frame.set_checksum(Checksum::PartialSctp { start: 34 });
                }
                frame.set_vlan(asked.contains(Work::VLAN).then_some(5));
                let left = asked - does - software;
                let state = rig.tx.submit(&mut batch);
                if left.is_empty() {
                    assert_eq!((state, batch.len()), (TxState::Running, 0), "{does:?} {software:?} {asked:?}");
                    continue;
                }
                assert_eq!(state, TxState::Refused(Refusal::SwitchedOff(left)), "{does:?} {software:?} {asked:?}");
                assert_eq!((batch.frames()[0].data(), Work::of(&batch.frames()[0])), (&[0; 100][..], asked));
                batch.clear();
            }
        }
    }
    let text = |work| std::format!("{}", Refusal::SwitchedOff(work));
    let (sum, tag, both) = (text(Work::CHECKSUM), text(Work::VLAN), text(all));
    assert!(sum.contains("(TX_CHECKSUM)") && sum.contains("call Frame::fill_in_checksum first") && !sum.contains("VLAN"), "{sum}");
    assert!(tag.contains("(TX_VLAN_INSERT)") && tag.contains("call Frame::insert_vlan first") && !tag.contains("CHECKSUM"), "{tag}");
    assert!(both.contains("(TX_CHECKSUM)") && both.contains("(TX_VLAN_INSERT)"), "{both}");
    let (crc, both) = (text(Work::SCTP_CRC), text(Work::SCTP_CRC | Work::VLAN));
    assert!(crc.contains("(TX_SCTP_CRC)") && crc.contains("call Frame::fill_in_checksum first") && !crc.contains("CHECKSUM"), "{crc}");
    assert!(both.contains("(TX_SCTP_CRC)") && both.contains("(TX_VLAN_INSERT)") && both.contains("insert_vlan"), "{both}");
}

/// What it is in place of.
#[test]
fn submit_leaves_what_it_refuses_at_the_front() {
    let (mut rig, mut batch) = (rig::<true>(default_gate()), Batch::new(16));
    put(&rig, &mut batch, &[60, LONG, 60]);
    for _ in 0..2 {
        assert_eq!((rig.tx.submit(&mut batch), batch.len()), (TxState::Refused(TOO_LONG), 2));
    }
    assert_eq!(queued(&rig), [0]);
}
