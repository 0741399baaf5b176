//! The smallest application: sends every frame back to where it came from.
//!
//! `cargo run --release --example first -- sim:ixgbe,dgram=/tmp/card.sock:/tmp/me.sock`

use barewire::{Batch, Config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec = std::env::args().nth(1).ok_or("give a device, for instance sim:ixgbe,tap=tap0")?;
    let mut port = barewire::open(&spec)?.start(&Config::default())?;
    let (mut rx, mut tx) = port.take_queues().ok_or("the port has no queues")?;
    let mut batch = Batch::new(64);
    loop {
        let waiting = batch.len(); // what the transmit queue had no room for
        rx.poll(&mut batch, 64);
        for frame in &mut batch.frames_mut()[waiting..] {
            if let Some(addresses) = frame.data_mut().first_chunk_mut::<12>() {
                addresses.rotate_left(6); // destination and source change places
            }
        }
        let _ = tx.submit(&mut batch);
    }
}
