//! What tests of drivers are made of, in this crate, in ours, and in others' (feature `testing`).
//!
//! | part | what it is |
//! | --- | --- |
//! | [`HeapMapper`], [`domain`] | DMA memory from the heap, with device addresses that are no pointers |
//! | [`device_ptr`] | the same memory as a test finds it that plays the device |

mod memory;

pub use memory::{HeapMapper, device_ptr, domain};

/// How many random cases a test looks at: what PROPTEST_CASES says. Without it few under Miri, which is some hundred times slower; nor does it let tests
/// write files.
#[cfg(test)]
pub(crate) fn cases() -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config::default();
    if !cfg!(miri) {
        return config;
    }
    let cases = std::env::var("PROPTEST_CASES").map_or(4, |_| config.cases);
    proptest::test_runner::Config { cases, failure_persistence: None, ..config }
}
