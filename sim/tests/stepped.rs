//! A card that its program's calls move.

use std::sync::Arc;

use driver_core::host::{Clock, Interrupt, PciFunction};
use sim::ixgbe::Ixgbe;
use sim::wire::peer;
use sim::{Iommu, SimClock, SimDevice, Violations};

fn card(iommu: &Arc<Iommu>) -> SimDevice {
    let (near, _far) = peer::pair(4);
    SimDevice::new("sim:ixgbe", Box::new(Ixgbe::new(Default::default())), Box::new(near), iommu.clone())
}

/// How much time a thousand turns take.
fn thousand_turns(seed: Option<u64>) -> u64 {
    let (card, clock) = (card(&Iommu::new()), Arc::new(SimClock::default()));
    let stepped = card.step_by(&clock, seed);
    let stepper = stepped.stepper();
    (0..1000).for_each(|_| _ = stepper.turn());
    let took_us = clock.now_us();
    stepped.stop().unwrap();
    assert!(!stepper.turn() && !stepper.idle(), "it stands still");
    assert_eq!(clock.now_us(), took_us + 1, "idle is a microsecond of the clock, whoever moves by it");
    took_us
}

#[test]
fn a_turn_is_a_step_or_what_the_seed_draws() {
    assert_eq!(thousand_turns(None), 1000);
    let drawn: Vec<_> = (0..4).map(|seed| thousand_turns(Some(seed))).collect();
    // (0 + 2 + 3 + 5) / 8 steps a turn.
    assert!(drawn.iter().all(|took_us| (1150..1350).contains(took_us)), "{drawn:?}");
    assert!(drawn.iter().any(|took_us| *took_us != drawn[0]), "{drawn:?}");
    assert_eq!(drawn, (0..4).map(|seed| thousand_turns(Some(seed))).collect::<Vec<_>>());
}

#[test]
fn a_card_has_one_mover() {
    let (card, clock) = (card(&Iommu::new()), Arc::new(SimClock::default()));
    let is_taken = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(card.run()))).is_err();
    let stepped = card.step_by(&clock, None);
    assert!(is_taken());
    drop(stepped);
    assert!(!is_taken());
    drop(card.step_by(&clock, None));
}

/// Both cards share a clock: a wait for one moves the other, and simulated time is not waited for.
#[test]
fn a_wait_moves_all_cards_of_the_clock() {
    let iommu = Iommu::new();
    let (one, other, clock) = (card(&iommu), card(&iommu), Arc::new(SimClock::default()));
    let (_one, _other) = (one.step_by(&clock, None), other.step_by(&clock, None));
    // SAFETY: CTRL.RST (bit 26) makes a card access nothing.
    let registers = unsafe { other.function().open_bar(0) }.unwrap();
    driver_core::host::RegSpace::write32(&registers, 0, 1 << 26);
    let mut function = one.function();
    let mut vectors: Vec<_> = function.enable_interrupts(1).unwrap().into_iter().collect();
    let begin = std::time::Instant::now();
    assert_eq!(vectors[0].wait(Some(5_000_000)).unwrap(), 0, "nothing fires");
    assert!((5_000_000..5_000_010).contains(&clock.now_us()));
    assert!(begin.elapsed() < std::time::Duration::from_secs(60));
    assert_eq!(driver_core::host::RegSpace::read32(&registers, 0) & 1 << 26, 0, "the other card's reset ended");
}

/// The window that was hit last is looked at each time.
#[test]
fn memory_is_gone_for_a_card_as_soon_as_its_mapping_is() {
    let (iommu, violations) = (Iommu::new(), Violations::default());
    let (kept, gone) = (iommu.domain().allocate(4096).unwrap(), iommu.domain().allocate(4096).unwrap());
    let iova = gone.iova();
    let load = || {
        let memory = iommu.hold();
        // SAFETY: no region has a reference into it.
        let dma = unsafe { memory.device(true, &violations) };
        (0..3).map(|_| dma.load8(iova).is_ok() && dma.load8(kept.iova()).is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(load(), [true; 3]);
    drop(gone);
    assert_eq!(load(), [false; 3]);
    assert_eq!(violations.total(), 3);
}
