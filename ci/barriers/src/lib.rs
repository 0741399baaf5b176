//! One function for each barrier. The accesses around it are such that a compiler leaves one out where nothing stands between them: the second load of
//! what it has just loaded, the first of two stores to one place.
#![no_std]

use driver_core::barrier;

/// How a frame's first word changed until the status said that the device had written it.
///
/// # Safety
/// Both can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn after_done(status: *const u64, frame: *const u64) -> u64 {
    // SAFETY: the caller's.
    unsafe {
        let early = frame.read();
        let seen = status.read_volatile();
        barrier::after_done();
        frame.read().wrapping_sub(early) ^ seen
    }
}

/// Fills a frame, rings the doorbell and fills the frame again.
///
/// # Safety
/// Both can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn before_doorbell(doorbell: *mut u32, frame: *mut u32, value: u32, next: u32) {
    // SAFETY: the caller's.
    unsafe {
        frame.write(value);
        barrier::before_doorbell();
        doorbell.write_volatile(value);
        frame.write(next);
    }
}

/// How what the device says changed after an index was shown to it.
///
/// # Safety
/// The one can be written and the other be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn store_then_load(index: *mut u32, wanted: *const u32, value: u32) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        let early = wanted.read();
        index.write_volatile(value);
        barrier::store_then_load();
        wanted.read().wrapping_sub(early)
    }
}
