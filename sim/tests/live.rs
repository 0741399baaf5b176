//! Devices on threads of their own, clocks, and the IOMMU.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Card, MAC, data_word, frame};
use driver_core::host::{Bar, Clock, Doorbell, Interrupt, Iova, PciFunction, RegSpace};
use sim::{HostClock, Iommu, SimClock, SimDevice, Violations};

const PATIENCE: Duration = Duration::from_secs(20);

#[track_caller]
fn eventually(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn frames_flow_while_another_thread_reads_registers() {
    let card = Card::up();
    let (ring, buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.ends.lock().unwrap().lossless = true;
    let live = card.device.run();
    let (bar, stop) = (card.bar.clone(), Arc::new(AtomicBool::new(false)));
    let reader = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut reads = 0u64;
            while !stop.load(Ordering::Relaxed) {
                assert_ne!(bar.read32(0x8), !0);
                reads += 1;
            }
            reads
        })
    };
    let tail = card.bar.doorbell(ring.block + 0x18).unwrap();
    tail.ring(63);
    let count = 20_000u32;
    for i in 0..count {
        let mut bytes = frame(MAC, 60);
        bytes[20..24].copy_from_slice(&i.to_le_bytes());
        card.arrive(&bytes);
    }
    for i in 0..count {
        let slot = i % 64;
        eventually(|| card.get(&ring, slot)[1] & 1 != 0);
        let buffer = buffers.iova().offset(u64::from(slot) * 2048);
        assert_eq!(card.bytes(buffer, 60)[20..24], i.to_le_bytes(), "in order");
        card.put(&ring, slot, [buffer.0, 0]);
        tail.ring(slot);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
    live.stop().unwrap();
    card.expect_violations(&[]);
}

#[test]
fn a_doorbell_wakes_an_idle_card() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let buffer = card.function.dma().allocate(60).unwrap();
    card.fill(&buffer, 0, &frame(MAC, 60));
    // With a descriptor to sleep on, the card sleeps for 10 ms unless it is woken.
    card.ends.lock().unwrap().has_fd = true;
    let live = card.device.run();
    let tail = card.bar.doorbell(ring.block + 0x18).unwrap();
    let mut quickest = PATIENCE;
    for i in 0..30 {
        std::thread::sleep(Duration::from_millis(2));
        card.put(&ring, i, [buffer.iova().0, data_word(60, 60, true, true)]);
        let start = Instant::now();
        tail.ring(i + 1);
        eventually(|| card.get(&ring, i)[1] == 1 << 32);
        quickest = quickest.min(start.elapsed());
    }
    assert!(quickest < Duration::from_millis(3), "{quickest:?}");
    drop(live);
    assert_eq!(card.sent().len(), 30);
    assert_eq!(card.ends.lock().unwrap().flushes, 1);
    let again = card.device.run();
    again.stop().unwrap();
    assert_eq!(card.ends.lock().unwrap().flushes, 2);
    card.expect_violations(&[]);
}

#[test]
fn posted_writes_come_before_later_accesses() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let tail = card.bar.doorbell(ring.block + 0x18).unwrap();
    tail.ring(64);
    card.expect_violations(&["the tail was written beyond the ring"]);
    tail.ring(7);
    assert_eq!(card.r(ring.block + 0x18), 7);
}

#[test]
fn interrupts_of_a_live_card() {
    let mut card = Card::up();
    let mut vectors: Vec<_> = card.function.enable_interrupts(2).unwrap().into_iter().collect();
    card.w(0x898, 1 << 4);
    card.w(0xA00, (0x80 | 1) << 8);
    let _ = card.r(0x800);
    card.w(0x880, 1 << 20);
    let live = card.device.run();
    let start = Instant::now();
    assert_eq!(vectors[1].wait(Some(20_000)).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(20));
    card.device.set_carrier(false);
    assert_eq!(vectors[1].wait(Some(PATIENCE.as_micros() as u64)).unwrap(), 1);
    assert_eq!(vectors[0].wait(Some(0)).unwrap(), 0);
    live.stop().unwrap();
}

#[test]
fn sleeping_on_the_simulated_clock_moves_the_card() {
    let card = Card::new();
    let clock = SimClock::new([card.device.clone()]);
    card.w(0, 1 << 26);
    clock.sleep_us(2000);
    assert_eq!(clock.now_us(), 2000);
    assert_eq!(card.r(0) & 1 << 26, 0);
    assert_ne!(card.r(0x42A4) & 1 << 30, 0, "the link came up in 500 us");
    let host = HostClock::new();
    let before = host.now_us();
    host.sleep_us(1000);
    assert!(host.now_us() >= before + 1000);
}

#[test]
fn a_hung_transmitter() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let buffer = card.function.dma().allocate(60).unwrap();
    card.fill(&buffer, 0, &frame(MAC, 60));
    card.faults(|faults| faults.hang_tx_after = Some(3));
    for i in 0..10 {
        card.put(&ring, i, [buffer.iova().0, data_word(60, 60, true, true)]);
    }
    card.tail(&ring, 10);
    card.settle();
    assert_eq!((card.sent().len(), card.r(ring.block + 0x10)), (3, 3));
}

/// Two drivers of one card: each would ring the doorbells of the other's rings.
#[test]
fn a_card_has_one_function_until_the_last_handle_of_it_is_gone() {
    let Card { device, function, bar, .. } = Card::new();
    let taken = |device: &SimDevice| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(device.function()))).is_err();
    assert!(taken(&device));
    drop(function);
    let doorbell = bar.doorbell(0).unwrap();
    assert!(taken(&device));
    drop(bar);
    assert!(taken(&device));
    // SAFETY: it writes nothing.
    drop(unsafe { device.another_function() });
    assert!(taken(&device));
    drop(doorbell);
    assert!(!taken(&device) && !taken(&device));
}

#[test]
fn device_addresses() {
    let iommu = Iommu::new();
    // SAFETY: no region has a reference into it.
    let read = |iova, into: &mut [u8]| unsafe { iommu.read(iova, into) };
    // SAFETY: as above.
    let write = |iova, from: &[u8]| unsafe { iommu.write(iova, from) };
    let (one, other) = (iommu.domain(), iommu.domain());
    assert!(!Iommu::new().domain().is_same(&Iommu::new().domain()));
    let regions: Vec<_> = [100, 5000, 3 << 20].map(|len| one.allocate(len).unwrap()).into();
    for region in &regions {
        let (iova, len) = (region.iova(), region.len_bytes());
        assert_ne!(iova.0, region.ptr().as_ptr() as u64);
        assert_eq!((iova.0 % 4096, region.ptr().as_ptr() as usize % 4096, len % 4096), (0, 0, 0));
        let mut bytes = vec![1; len];
        read(iova, &mut bytes).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0), "fresh memory is zeroed");
        write(iova.offset(len as u64 - 1), &[7]).unwrap();
        for outside in [iova.offset(len as u64), Iova(iova.0 - 1), iova.offset(len as u64 - 1)] {
            assert!(write(outside, &[0; 2]).is_err(), "{outside:#x} for two bytes");
        }
    }
    assert!(regions.iter().any(|region| region.iova().0 < 1 << 32) && regions.iter().any(|region| region.iova().0 >= 1 << 32));
    let gone = regions[1].iova();
    drop(regions);
    assert!(read(gone, &mut [0]).is_err());
    assert_eq!(iommu.mappings(), 0);
    assert!(other.allocate(usize::MAX).is_err() && other.allocate(1 << 45).is_err());
    assert_eq!(iommu.mappings(), 0);
}

#[test]
fn descriptors_of_a_device() {
    let iommu = Arc::new(Iommu::named("test"));
    let region = iommu.domain().allocate(4096).unwrap();
    let violations = Violations::default();
    let iova = region.iova();
    let memory = iommu.hold();
    // SAFETY: the region has no reference into it.
    let dma = unsafe { memory.device(true, &violations) };
    dma.store16(iova.offset(16), [0x0102_0304_0506_0708, 0x1112_1314_1516_1718]).unwrap();
    let mut bytes = [0; 32];
    dma.read(iova, &mut bytes).unwrap();
    assert_eq!(bytes[16..26], [8, 7, 6, 5, 4, 3, 2, 1, 0x18, 0x17]);
    assert_eq!(dma.load16(iova.offset(16)).unwrap()[1], 0x1112_1314_1516_1718);
    dma.store8(iova, 5).unwrap();
    dma.store4(iova.offset(4), 6).unwrap();
    assert_eq!(dma.load8(iova).unwrap(), 6 << 32 | 5);
    let mut appended = vec![9];
    dma.append(iova.offset(16), 2, &mut appended).unwrap();
    assert_eq!(appended, [9, 8, 7]);
    assert_eq!(violations.total(), 0);
    assert!(dma.load16(iova.offset(8)).is_err() && dma.store8(iova.offset(4), 0).is_err() && dma.load16(iova.offset(4096)).is_err());
    drop(memory);
    let memory = iommu.hold();
    // SAFETY: as above.
    assert!(unsafe { memory.device(false, &violations) }.load8(iova).is_err());
    let seen: Vec<_> = violations.to_vec().iter().map(|violation| violation.what).collect();
    let misaligned = "DMA of a descriptor that is not aligned";
    assert_eq!(seen, [misaligned, misaligned, "DMA outside the mappings", "DMA while bus mastering is off"]);
    (0..1000).for_each(|i| violations.record("x", format_args!("{i}"), i, "1"));
    assert_eq!((violations.to_vec().len(), violations.total()), (4 + 64, 1004));
    violations.record("y", format_args!(""), 0, "1");
    assert_eq!(violations.to_vec().last().map(|violation| violation.what), Some("y"), "a flood of one kind does not hide another");
}
