//! What tests of drivers are made of, in this crate, in ours, and in others' (feature `testing`).
//!
//! | part | what it is |
//! | --- | --- |
//! | [`HeapMapper`], [`domain`] | DMA memory from the heap, with device addresses that are no pointers |
//! | [`device_ptr`] | the same memory as a test finds it that plays the device |

mod memory;

pub use memory::{HeapMapper, device_ptr, domain};

/// How many random cases a test looks at: few under Miri, which is some hundred times slower and lets no test write files.
#[cfg(test)]
pub(crate) fn cases() -> proptest::test_runner::Config {
    use proptest::test_runner::Config;
    if cfg!(miri) { Config { cases: 4, failure_persistence: None, ..Config::default() } } else { Config::default() }
}
