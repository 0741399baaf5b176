//! Verdicts on frames in the device's buffers: all frames go where they are sent, are accounted for, and leave the pools full.

use super::rig::{Parts, Rig, numbered, pool, small};
use driver_core::buf::{Batch, BufPool};
use driver_core::device::NetDevice;
use driver_core::queue::{FrameView, PollWith, QueueFault, RxQueue, Verdict, WhenFull};
use sim::Iommu;
use sim::virtio_net::{Faults, VirtioNetOptions as Options};

fn number_in(bytes: &[u8]) -> u64 {
    driver_core::testing::number_in(bytes).into()
}

fn by_number(number: u64) -> Verdict {
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

#[test]
fn frames_leave_by_the_device_that_the_verdict_names() {
    let iommu = Iommu::new();
    let [mut a, mut b] = [0, 1].map(|_| Rig::in_domain(&iommu, Options::default(), 0));
    let pools = [pool(&a, 512), pool(&b, 512)];
    let (mut from, mut other) = (a.parts(&small().pool(pools[0].clone())), b.parts(&small().pool(pools[1].clone())));
    let (mut batch, mut up) = (Batch::new(64), Vec::new());
    let mut bytes = 0;
    for turn in 0..60 {
        for k in 0..50 {
            // Some are shorter than the wire takes.
            let frame = numbered(50 * turn + k, if k % 9 == 0 { 30 } else { 70 });
            bytes += frame.len() as u64;
            a.send(&frame);
        }
        a.run_us(40);
        loop {
            let budget = 17 + turn as usize % 40;
            let judged = from.rx.poll_with(&mut by_bytes, &mut [&mut from.tx, &mut other.tx], WhenFull::Drop, &mut batch, budget);
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
    let hook = from.rx.counters().hook;
    let counted = [hook.passed, hook.dropped, hook.aborted, hook.sent, hook.redirected].map(|count| count as usize);
    let wanted = [Verdict::Pass, Verdict::Drop, Verdict::Abort, Verdict::Tx, Verdict::Redirect(1)].map(|verdict| of(verdict).len());
    assert_eq!((counted, hook.full, hook.no_buffer), (wanted, 0, 0));
    let stats = from.control.stats();
    assert_eq!((stats.rx_packets, stats.rx_bytes), (3000, bytes), "the queue counts for its device");
    a.assert_clean();
    b.assert_clean();
    drop((from, other, batch));
    assert_eq!([pools[0].available(), pools[1].available()], [512; 2]);
}

/// What a receive queue makes of frames that come with these lies under a hook, and how many it judged.
fn judged_with(lie: impl Fn(&mut Faults)) -> (Option<QueueFault>, usize) {
    let mut rig = Rig::new();
    let pool: BufPool = pool(&rig, 512);
    let mut parts: Parts = rig.parts(&small().pool(pool.clone()));
    let mut batch = Batch::new(64);
    let mut send_back = |_: &mut FrameView<'_>| Verdict::Tx;
    for count in [40; 10] {
        (0..count).for_each(|number| rig.send(&numbered(number, 60)));
        rig.run_us(20);
        assert_eq!(parts.rx.poll_with(&mut send_back, &mut [&mut parts.tx], WhenFull::Drop, &mut batch, 64), count as usize);
        rig.run_us(20);
    }
    rig.faults(lie);
    rig.send(&numbered(10, 60));
    rig.send(&numbered(11, 60));
    rig.run_us(20);
    let judged = parts.rx.poll_with(&mut send_back, &mut [&mut parts.tx], WhenFull::Drop, &mut batch, 64);
    let fault = parts.rx.fault();
    if fault.is_some() {
        assert_eq!(parts.rx.poll_with(&mut send_back, &mut [&mut parts.tx], WhenFull::Drop, &mut batch, 64), 0);
    }
    drop((parts, batch));
    assert_eq!(pool.available(), 512, "buffers lost after {fault:?}");
    (fault, judged)
}

#[test]
fn what_a_device_was_not_lent_reaches_no_hook() {
    // A packed queue's ID has 16 bits.
    for id in [64, 0xffff, u32::MAX].into_iter().take(if super::rig::is_packed() { 2 } else { 3 }) {
        let (fault, judged) = judged_with(|faults| faults.rx_id = Some(id));
        assert_eq!((fault, judged), (Some(QueueFault::Index { index: id, limit: 64 }), 1));
    }
    let lent = 2048 + 12;
    for len in [lent + 1, 0xffff, 0x1_0000 + 72, u32::MAX] {
        let (fault, judged) = judged_with(|faults| faults.rx_len = Some(len));
        assert!(matches!(fault, Some(QueueFault::Length { len_bytes, max_bytes, .. }) if len_bytes == len && max_bytes == lent), "{fault:?}");
        assert_eq!(judged, 0);
    }
    for len in [0, 11] {
        let (fault, judged) = judged_with(|faults| faults.rx_len = Some(len));
        assert_eq!((fault, judged), (Some(QueueFault::Protocol("the device used a receive buffer for less than the header of a frame")), 0));
    }
}
