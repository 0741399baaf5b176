//! The smallest application: sends every frame back to where it came from.
//!
//! `cargo run --release --example first -- sim:ixgbe,dgram=/tmp/card.sock:/tmp/me.sock`

use std::time::{Duration, Instant};

use barewire::{Batch, Config, Error, SpecError, TxDrops};

fn main() -> Result<(), Error> {
    let spec = std::env::args().nth(1).filter(|spec| !spec.starts_with('-'));
    let spec = spec.ok_or(SpecError::new("first DEVICE", "give a device, for instance sim:ixgbe,tap=tap0"))?;
    let mut port = barewire::open(&spec)?.start(&Config::new())?;
    let mac = port.control.mac();
    let (mut rx, mut tx) = port.take_queues().expect("a started port has queues");
    let (mut batch, mut drops, mut looked) = (Batch::new(64), TxDrops::new(), Instant::now());
    loop {
        if looked.elapsed() > Duration::from_millis(100) {
            looked = Instant::now();
            if let Some(failure) = port.failure() {
                return Err(failure); // it is gone, and an idle queue would not notice
            }
        }
        let waiting = batch.len(); // what the transmit queue had no room for
        rx.poll(&mut batch, 64);
        for frame in &mut batch.frames_mut()[waiting..] {
            if let Some(addresses) = frame.data_mut().first_chunk_mut::<12>() {
                addresses.copy_within(6.., 0); // to where it came from,
                addresses[6..].copy_from_slice(&mac.0); // and from us: where it went may be a group
            }
        }
        let sent = tx.submit_or_drop(&mut batch, &mut drops);
        if let Some(fault) = sent.err().or(rx.fault()) {
            return Err(Error::Queue { device: spec, fault });
        }
    }
}
