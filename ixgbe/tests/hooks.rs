//! Verdicts on frames in the card's buffers: all frames go where they are sent, are accounted for, and leave the pools full.

use crate::rig::{Rig, number_in, numbered};
use driver_core::buf::{Batch, BufPool, Frame, PoolConfig};
use driver_core::device::{Config, NetDevice};
use driver_core::queue::{FrameView, Hook, PollWith, QueueFault, RxQueue, TxQueue, Verdict, WhenFull};
use sim::Iommu;

/// By the frame's number: every seventh up, every fifth dropped, every third out of the second queue, the others out of the first.
fn by_number(number: u32) -> Verdict {
    match number {
        number if number % 7 == 0 => Verdict::Pass,
        number if number % 5 == 0 => Verdict::Drop,
        number if number % 3 == 0 => Verdict::Redirect(1),
        number if number % 11 == 0 => Verdict::Abort,
        _ => Verdict::Tx,
    }
}

fn by_bytes(frame: &mut FrameView<'_>) -> Verdict {
    by_number(number_in(frame.data()))
}

fn small(pool: &BufPool) -> Config {
    Config::new().rx_ring(64).tx_ring(64).pool(pool.clone())
}

#[test]
fn frames_leave_by_the_card_that_the_verdict_names_in_its_domain_or_another() {
    for is_same_domain in [true, false] {
        let iommu = Iommu::new();
        let mut a = Rig::in_domain(&iommu, 0);
        let mut b = if is_same_domain { Rig::in_domain(&iommu, 0) } else { Rig::new() };
        let pools = [&a, &b].map(|rig| BufPool::new(&rig.domain(), PoolConfig::new(512)).unwrap());
        let (mut from, mut other) = (a.start(&small(&pools[0])), b.start(&small(&pools[1])));
        let (mut batch, mut up) = (Batch::new(64), Vec::new());
        for turn in 0..60 {
            (0..50).for_each(|k| a.send(&numbered(50 * turn + k, 60)));
            a.run_us(40);
            loop {
                let [tx, to_other] = [&mut from.tx[0], &mut other.tx[0]];
                let judged = from.rx[0].poll_with(&mut by_bytes, &mut [tx, to_other], WhenFull::Drop, &mut batch, 17 + turn as usize % 40);
                up.extend(batch.frames().iter().map(|frame| number_in(frame.data())));
                batch.clear();
                if judged == 0 {
                    break;
                }
                a.run_us(40);
                b.run_us(40);
            }
        }
        a.run_us(1000);
        b.run_us(1000);
        let of = |verdict: Verdict| (0..3000).filter(|&number| by_number(number) == verdict).collect::<Vec<_>>();
        let numbers = |frames: Vec<Vec<u8>>| frames.iter().map(|frame| number_in(frame)).collect::<Vec<_>>();
        assert_eq!(up, of(Verdict::Pass));
        assert_eq!(numbers(a.arrived()), of(Verdict::Tx));
        assert_eq!(numbers(b.arrived()), of(Verdict::Redirect(1)));
        let hook = from.rx[0].counters().hook;
        let counted = [hook.passed, hook.dropped, hook.aborted, hook.sent, hook.redirected].map(|count| count as usize);
        let wanted = [Verdict::Pass, Verdict::Drop, Verdict::Abort, Verdict::Tx, Verdict::Redirect(1)].map(|verdict| of(verdict).len());
        assert_eq!((counted, hook.full, hook.no_buffer), (wanted, 0, 0));
        assert_eq!(other.tx[0].counters().bounced > 0, !is_same_domain, "a card of another domain gets copies");
        drop((from, other, batch));
        for pool in &pools {
            assert_eq!(pool.available(), 512);
        }
        assert_eq!((a.violations(), b.violations()), (String::new(), String::new()));
    }
}

/// Answers every frame with one that is shorter than the wire takes, or begins in the headroom.
struct Resize(u32);

impl Hook for Resize {
    fn verdict(&mut self, frame: &mut FrameView<'_>) -> Verdict {
        self.0 += 1;
        let number = number_in(frame.data());
        let mut head = [0; 20];
        head.copy_from_slice(&frame.data()[..20]);
        match number % 3 {
            0 => frame.trim(40).unwrap(),
            1 => drop(frame.push(32)),
            _ => frame.pull(40).unwrap(),
        }
        frame.data_mut()[..20].copy_from_slice(&head);
        Verdict::Tx
    }

    fn verdict_whole(&mut self, frame: &mut Frame) -> Verdict {
        self.0 += 1;
        assert!(!frame.is_linear(), "a frame in one buffer is judged where it lies");
        Verdict::Drop
    }
}

#[test]
fn moved_ends_are_what_is_sent_and_padded_and_chains_are_judged_as_frames() {
    let mut rig = Rig::new();
    let pool = BufPool::new(&rig.domain(), PoolConfig::new(512)).unwrap();
    let mut card = rig.start(&small(&pool).mtu(9000));
    let (mut batch, mut hook) = (Batch::new(64), Resize(0));
    for number in 0..40 {
        rig.send(&numbered(number, 100));
    }
    rig.send(&numbered(40, 5000));
    rig.send(&numbered(41, 100));
    rig.run_us(100);
    while card.rx[0].poll_with(&mut hook, &mut [&mut card.tx[0]], WhenFull::Drop, &mut batch, 64) > 0 {
        rig.run_us(100);
    }
    rig.run_us(100);
    let sent = rig.arrived();
    assert_eq!((sent.len(), hook.0), (41, 42));
    for (frame, number) in sent.iter().zip((0..40).chain([41])) {
        assert_eq!(number_in(frame), number);
        let wanted = [60, 132, 60][number as usize % 3];
        assert_eq!(frame.len(), wanted);
        assert!(number % 3 != 0 || frame[40..].iter().all(|&byte| byte == 0), "padding is zeros");
    }
    let hook = card.rx[0].counters().hook;
    assert_eq!((hook.sent, hook.dropped), (41, 1));
    card.control.stop().unwrap();
    drop((card, batch));
    assert_eq!(pool.available(), 512);
    assert_eq!(rig.violations(), "");
}

#[test]
fn a_tagged_frame_is_judged_as_well_and_a_bad_one_by_nobody() {
    let mut rig = Rig::new();
    let mut card = rig.start(&Config::new().rx_ring(64).tx_ring(64));
    let mut batch = Batch::new(64);
    let mut seen = Vec::new();
    for number in 0..20 {
        let mut frame = numbered(number, 80);
        if number == 9 {
            frame[12..16].copy_from_slice(&[0x81, 0, 0, 5]);
        }
        rig.send(&frame);
    }
    rig.run_us(100);
    let mut look = |frame: &mut FrameView<'_>| {
        seen.push((number_in(frame.data()), frame.data()[12..14] == [0x81, 0]));
        Verdict::Tx
    };
    while card.rx[0].poll_with(&mut look, &mut [&mut card.tx[0]], WhenFull::Drop, &mut batch, 64) > 0 {}
    rig.run_us(100);
    assert_eq!((seen.len(), rig.arrived().len()), (20, 20));
    assert_eq!(seen.iter().filter(|(_, is_tagged)| *is_tagged).count(), 1);
}

#[test]
fn a_stopped_card_judges_nothing_and_says_why() {
    let mut rig = Rig::new();
    let mut card = rig.start(&Config::new().rx_ring(64).tx_ring(64));
    rig.send(&numbered(1, 60));
    rig.run_us(20);
    card.control.stop().unwrap();
    let mut never = |_: &mut FrameView<'_>| -> Verdict { panic!("nothing is to be judged") };
    let mut batch = Batch::new(8);
    assert_eq!(card.rx[0].poll_with(&mut never, &mut [&mut card.tx[0]], WhenFull::Drop, &mut batch, 8), 0);
    assert_eq!(card.rx[0].fault(), Some(QueueFault::Stopped));
}
