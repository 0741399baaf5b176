//! What of a virtio device can be tested is, and the rest is named.

use super::rig::{Rig, without};
use driver_core::device::{Flaw, NetDevice, NetDriver, Outcome, SelfTest, TestPart};
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::Features;

const LINK_US: u64 = 1_000_000;

fn test(rig: &Rig) -> SelfTest {
    rig.open().unwrap().self_test(LINK_US).unwrap()
}

fn names(test: &SelfTest) -> Vec<&'static str> {
    test.parts.iter().map(|(_, outcome)| outcome.name()).collect()
}

#[test]
fn registers_interrupts_and_link_pass_and_the_rest_is_absent() {
    let mut rig = Rig::new();
    let mut opened = rig.audit.watch(rig.open().unwrap());
    let found = opened.self_test(LINK_US).unwrap();
    assert_eq!(names(&found), ["passed", "absent", "passed", "absent", "passed"], "{found:?}");
    assert!(found.is_good());
    let left = rig.arrived();
    assert!(left.len() == 1 && left[0].len() == 60 && left[0][..6] == left[0][6..12], "one frame, from itself to itself: {left:?}");
    let mut started = opened.start(&super::rig::any()).unwrap();
    assert!(started.control.link().up);
    rig.send(&super::rig::numbered(1, 100));
    rig.run_us(100);
    assert_eq!(driver_core::testing::received(&mut started.rx[0]), [super::rig::numbered(1, 100)]);
    drop(started);
    rig.assert_clean();
    // The frame of the test is in nobody's books.
    rig.audit.excuse("a frame of the self-test");
}

#[test]
fn an_address_that_is_not_kept_is_found() {
    let rig = Rig::new();
    rig.faults(|faults| faults.stuck_address = true);
    let found = test(&rig);
    let flaws: Vec<_> = found.flaws().collect();
    let Some((TestPart::Registers, Flaw::Register { name, offset, wrote, read, .. })) = flaws.first() else { panic!("{flaws:?}") };
    assert_eq!((&**name, *offset, wrote ^ read), ("queue_desc", 0x20, 1 << 12));
    rig.audit.excuse("a frame of the self-test");
}

#[test]
fn a_lost_interrupt_is_found() {
    let rig = Rig::new();
    rig.faults(|faults| faults.lost_vector = Some(1));
    let found = test(&rig);
    assert!(matches!(found.flaws().collect::<Vec<_>>()[..], [(TestPart::Interrupts, Flaw::Lost { vector: 1, .. })]), "{found:?}");
    rig.assert_clean();
    rig.audit.excuse("a frame of the self-test");
}

#[test]
fn a_configuration_that_never_rests_is_found() {
    let rig = Rig::new();
    let mut opened = rig.open().unwrap();
    rig.faults(|faults| faults.restless = true);
    let found = opened.self_test(LINK_US).unwrap();
    assert!(matches!(found.parts[0], (TestPart::Registers, Outcome::Failed(Flaw::Failed(_)))), "{found:?}");
}

#[test]
fn without_a_link_that_is_what_is_told() {
    let rig = Rig::new();
    rig.device.set_carrier(false);
    let found = test(&rig);
    assert_eq!(names(&found), ["passed", "absent", "absent", "absent", "failed"], "{found:?}");
    assert!(matches!(found.parts[4], (TestPart::Link, Outcome::Failed(Flaw::NoLink { waited_us: LINK_US, .. }))), "{found:?}");
    rig.assert_clean();
}

#[test]
fn what_a_smaller_device_lacks_is_absent() {
    let rig = Rig::with(without(Features::STATUS));
    assert_eq!(names(&test(&rig)), ["passed", "absent", "passed", "absent", "absent"]);
    rig.audit.excuse("a frame of the self-test");
    let rig = Rig::with(Options::new().vectors(2));
    assert_eq!(names(&test(&rig)), ["passed", "absent", "absent", "absent", "passed"]);
    rig.assert_clean();
}
