//! Any answer to commands, any device configuration, any capabilities: no panic, no buffer lost, what is refused is not remembered, and a device that is honest again works.
#![no_main]

#[path = "../../virtio-net/tests/hostile_control/story.rs"]
mod story;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    story::hostile_control(input);
});
