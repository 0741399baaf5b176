use alloc::string::ToString;
use alloc::vec;
use core::cell::Cell;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::host::clock::Clock;
use crate::reg_flags;
use crate::testing::{Access, PlainBar};

/// 32 bytes of registers, each of which holds its offset.
fn memory() -> PlainBar {
    let bar = PlainBar::new(32);
    (0..32).step_by(4).for_each(|offset| bar.set(offset, u32::from_le_bytes([0, 1, 2, 3].map(|byte| offset as u8 + byte))));
    bar
}

fn read(offset: u32, len_bytes: u32) -> Access {
    Access::Read { offset, len_bytes }
}

fn write(offset: u32, len_bytes: u32, value: u32) -> Access {
    Access::Write { offset, len_bytes, value }
}

reg_flags! {
    struct Narrow: u8 {
        const LOW = 1;
    }
}
reg_flags! {
    struct Usual {
        const HIGH = 1 << 31;
    }
}

#[test]
fn a_register_is_accessed_by_the_width_of_its_value() {
    let memory = memory();
    assert_eq!(Reg::<Narrow, Ro>::new(5, "", "").read(&memory).bits(), 5);
    assert_eq!(Reg::<u16, Ro>::new(6, "", "").read(&memory), 0x0706);
    Reg::<Usual, Rw>::new(8, "", "").modify(&memory, |value| value | Usual::HIGH);
    Reg::<u8, Wo>::new(3, "", "").write(&memory, 9);
    assert_eq!(memory.accesses(), [read(5, 1), read(6, 2), read(8, 4), write(8, 4, 0x8b0a_0908), write(3, 1, 9)], "and bits without a name survive");
}

#[test]
fn a_wide_register_is_two_accesses_the_low_half_first() {
    let memory = memory();
    let wide: Reg<u64, Rw> = Reg::new(8, "", "");
    assert_eq!(wide.read(&memory), 0x0f0e_0d0c_0b0a_0908);
    wide.write(&memory, 0x1122_3344_5566_7788);
    assert_eq!(memory.accesses(), [read(8, 4), read(12, 4), write(8, 4, 0x5566_7788), write(12, 4, 0x1122_3344)]);
    assert_eq!(wide.read(&memory), 0x1122_3344_5566_7788);
}

#[test]
fn a_wide_register_at_the_end_does_not_begin_again_at_the_start() {
    let memory = memory();
    assert_eq!(memory.read64(u32::MAX - 3), u64::MAX);
    memory.write64(u32::MAX - 3, 0);
    assert_eq!(memory.read32(0), 0x0302_0100);
}

#[test]
fn the_end_of_a_register_is_the_byte_behind_it() {
    assert_eq!(Reg::<u16, Ro>::new(6, "", "").end(), 8);
    assert_eq!(RegArray::<u8, Ro>::new(0, 1, 6, "", "").end(), 6);
    assert_eq!(RegArray::<u32, Ro>::new(0xa200, 8, 128, "", "").end(), 0xa5fc);
    assert_eq!(RegArray::<u32, Ro>::new(0xa200, 8, 0, "", "").end(), 0xa200);
}

/// A clock that sleeping moves by a part of what was asked for: 0 stands still, 1 keeps the promise of [`Clock::sleep_us`].
struct Slow {
    now_us: AtomicU64,
    divisor: u64,
    sleeps: AtomicU64,
}

impl Slow {
    fn new(divisor: u64) -> Self {
        Self { now_us: AtomicU64::new(5), divisor, sleeps: AtomicU64::new(0) }
    }
}

impl Clock for Slow {
    fn now_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }
    fn sleep_us(&self, us: u64) {
        self.sleeps.fetch_add(1, Ordering::Relaxed);
        self.now_us.fetch_add(us.checked_div(self.divisor).unwrap_or(0), Ordering::Relaxed);
    }
}

const CTRL: Reg<u32, Rw> = Reg::new(4, "CTRL", "8.2.3.1.1");

#[test]
fn a_register_that_never_changes_is_named_with_its_last_value() {
    let clock = Slow::new(1);
    let error = wait_until(&memory(), CTRL, "the reset to end", &clock, 1500, |value| value == 0).unwrap_err();
    assert_eq!((error.register, error.offset, error.section, error.len_bytes), ("CTRL", 4, "8.2.3.1.1", 4));
    assert_eq!((error.what, error.last, error.waited_us, error.limit_us), ("the reset to end", 0x0706_0504, 1500, 1500));
    assert_eq!(error.to_string(), "waited 1500 us for the reset to end: CTRL (0x00004, section 8.2.3.1.1) still reads 0x07060504");
    // 1, 2, 4 ... 512, and what is left of the limit; a look before, between and after them.
    assert_eq!((error.reads, clock.sleeps.load(Ordering::Relaxed)), (12, 11));
}

#[test]
fn a_clock_that_stands_still_ends_the_wait_too() {
    for divisor in [0, 1000] {
        let clock = Slow::new(divisor);
        let error = wait_until(&memory(), CTRL, "the reset to end", &clock, 100_000, |value| value == 0).unwrap_err();
        assert!(error.waited_us <= 100, "{error:?}");
        assert!((100..=112).contains(&error.reads), "{error:?}");
        let told = "110 reads and the pauses between them take 100000 us: the host's clock stands still, or its sleep returns early";
        assert!(error.to_string().ends_with(told), "{error}");
    }
}

#[test]
fn what_holds_at_the_last_look_came_in_time() {
    let (clock, looks) = (Slow::new(1), Cell::new(0));
    let value = wait_until(&memory(), CTRL, "a change", &clock, 7, |_| {
        looks.set(looks.get() + 1);
        looks.get() == 4
    });
    assert_eq!((value, clock.now_us()), (Ok(0x0706_0504), 5 + 7));
    let once = wait_until(&memory(), CTRL, "a change", &clock, 0, |_| false).unwrap_err();
    assert_eq!((once.reads, once.waited_us), (1, 0));
}

#[test]
fn all_ones_are_those_of_the_registers_width() {
    let memory = memory();
    (0..32).step_by(4).for_each(|offset| memory.set(offset, u32::MAX));
    memory.set(4, 0xffff_fffe);
    let clock = Slow::new(1);
    let gone = |error: WaitError| {
        assert_eq!(error.is_all_ones(), error.to_string().contains("all ones mean that the card does not answer"), "{error}");
        error.is_all_ones()
    };
    assert!(gone(wait_until(&memory, Reg::<u8, Ro>::new(0, "", ""), "", &clock, 1, |_| false).unwrap_err()));
    assert!(gone(wait_until(&memory, Reg::<u16, Ro>::new(2, "", ""), "", &clock, 1, |_| false).unwrap_err()));
    assert!(!gone(wait_until(&memory, Reg::<u32, Ro>::new(4, "", ""), "", &clock, 1, |_| false).unwrap_err()));
    assert!(gone(wait_until(&memory, Reg::<u64, Ro>::new(8, "", ""), "", &clock, 1, |_| false).unwrap_err()));
    // 255 is all that eight bits hold, and little in 32.
    memory.write32(0, 0xff);
    assert!(!gone(wait_until(&memory, Reg::<u32, Ro>::new(0, "", ""), "", &clock, 1, |_| false).unwrap_err()));
}

#[test]
fn a_look_may_write_break_with_anything_and_fail() {
    let (memory, clock) = (memory(), Slow::new(1));
    let pace = Pace::within(50).every(20);
    let result = look_until(CTRL, "an answer", &clock, pace, || {
        let value = CTRL.read(&memory);
        CTRL.write(&memory, value + 1);
        Ok::<_, &str>(if value == 0x0706_0506 { ControlFlow::Break("there") } else { ControlFlow::Continue(value) })
    });
    assert_eq!((result, clock.now_us()), (Ok(Ok("there")), 5 + 2 * 20));
    let failed: Result<Result<(), _>, _> = look_until(CTRL, "an answer", &clock, pace, || Err("the bus is gone"));
    assert_eq!(failed, Err("the bus is gone"));
    let never = look_until(CTRL, "an answer", &clock, pace, || Ok::<_, &str>(ControlFlow::<(), _>::Continue(7))).unwrap().unwrap_err();
    assert_eq!((never.last, never.waited_us, never.reads), (7, 50, 4), "20, 20 and the 10 that are left");
}

proptest! {
    #[test]
    fn no_wait_takes_more_looks_than_its_limit_has_milliseconds(limit_us in 0u64..10_000_000, every_us in 0u64..1 << 40, divisor in 0u64..3) {
        let looks = Cell::new(0u64);
        let paces = [(Pace::within(limit_us), 12 + limit_us / 1000), (Pace::within(limit_us).every(every_us), 2 + limit_us / every_us.max(1))];
        for (pace, most) in paces.into_iter().filter(|&(_, most)| most < 20_000) {
            looks.set(0);
            let error = look_until(CTRL, "", &Slow::new(divisor), pace, || {
                looks.set(looks.get() + 1);
                Ok::<_, ()>(ControlFlow::<(), _>::Continue(0))
            });
            prop_assert_eq!(error.unwrap().unwrap_err().reads, looks.get());
            prop_assert!(looks.get() <= most);
        }
    }

    #[test]
    fn no_pace_overflows(limit_us: u64, every_us: u64, now_us: u64) {
        let clock = Slow { now_us: AtomicU64::new(now_us), divisor: 0, sleeps: AtomicU64::new(0) };
        let pace = Pace::within(limit_us).every(every_us);
        let mut looks = vec![ControlFlow::Break(()), ControlFlow::Continue(3), ControlFlow::Continue(0)];
        let _ = look_until(CTRL, "", &clock, pace, || looks.pop().ok_or("over"));
    }
}
