//! Refused frames cost one line a kind, not one a frame.

#[path = "../examples/common/refused.rs"]
mod refused;

use barewire::Refusal;
use refused::Refused;

#[test]
fn the_first_of_each_kind_is_told_and_all_are_counted() {
    let mut refused = Refused::default();
    let mut told = Vec::new();
    for len_bytes in 0..10 {
        refused.drops.count(Refusal::TooShort { len_bytes });
        told.extend(refused.news("sim:ixgbe"));
        refused.drops.count(Refusal::NoBounceBuffer);
        told.extend(refused.news("sim:ixgbe"));
    }
    assert_eq!(refused.frames(), 20);
    let wanted = ["sim:ixgbe: not sent: a frame of 0 bytes", "sim:ixgbe: not sent: the frame lies in memory of another DMA domain"];
    assert!(told.len() == 2 && told.iter().zip(wanted).all(|(told, wanted)| told.starts_with(wanted)), "{told:?}");
}
