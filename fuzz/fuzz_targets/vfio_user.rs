//! Anything that a vfio-user client may send: no panic, no broken reply, and the next client is served.
#![no_main]

#[path = "../../sim/tests/common/vfio_user_bytes.rs"]
mod bytes;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    bytes::serve_bytes(input);
});
