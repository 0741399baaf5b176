//! Any device of split virtqueues, between any calls of the driver: no panic, every buffer has one owner, and a reset mends everything.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    driver_core::testing::hostile_split(input);
});
