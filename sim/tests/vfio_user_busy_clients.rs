//! Clients that are asked for their memory while they want something themselves, or take their time. The rings lie in memory that comes with a
//! descriptor, the buffers in memory that the client is asked for.

#[path = "common/vfio_user.rs"]
mod client;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use client::*;
use rustix::io::pwrite;
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::wire::peer;

const RING: u64 = 0x1000;
const SLOTS: u64 = 16;
const BUFFERS: u64 = 0x10_0000;
const MEMORY_BYTES: usize = 0x10000;
const LINKS: u64 = 0x42A4;
const LINK_UP: u32 = 1 << 30;
const ENABLE: u32 = 1 << 25;

/// A card, a client that has attached it, the memory with the rings, and the far end of the wire.
fn attached(test: &str, answers: Answers) -> (Served, Client, OwnedFd, peer::Peer) {
    let (near, far) = peer::pair(64);
    let model = Ixgbe::new(IxgbeOptions { link_up_us: 0, ..IxgbeOptions::default() });
    let served = Served::new(test, Box::new(model), Box::new(near));
    let mut client = served.agreed();
    let file = memfd(MEMORY_BYTES as u64);
    client.ask_with(2, &dma_map(3, 0, 0, MEMORY_BYTES as u64), &[&file]).good();
    client.ask(2, &dma_map(3, 0, BUFFERS, MEMORY_BYTES as u64)).good();
    (client.memory_at, client.memory, client.answers) = (BUFFERS, vec![0x77; MEMORY_BYTES], answers);
    client.write(7, 4, &[6, 0]);
    wait_for(&mut client, LINKS, LINK_UP);
    (served, client, file, far)
}

fn wait_for(client: &mut Client, register: u64, bit: u32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.read32(0, register) & bit == 0 {
        assert!(Instant::now() < deadline, "register {register:#x} is not {bit:#x}");
    }
}

/// Prepares the queue whose registers lie at `block` and enables it.
fn enable(client: &mut Client, block: u64) {
    for (register, value) in [(0, RING as u32), (4, 0), (8, SLOTS as u32 * 16), (0x28, ENABLE)] {
        client.write32(0, block + register, value);
    }
    wait_for(client, block + 0x28, ENABLE);
}

/// Each answer comes well within the server's patience.
#[test]
fn a_slow_client_does_not_keep_the_server_from_stopping() {
    let (served, mut client, file, _far) = attached("stop", Answers::AsTheProtocol);
    for slot in 0..SLOTS {
        let data = 60 | 3 << 20 | (1 << 29 | 1 << 27 | 1 << 25 | 1 << 24) | 60 << 46u64;
        pwrite(&file, &[(BUFFERS + 64 * slot).to_le_bytes(), u64::to_le_bytes(data)].concat(), RING + 16 * slot).unwrap();
    }
    client.write32(0, 0x4A80, 1);
    enable(&mut client, 0x6000);
    client.write32(0, 0x6018, SLOTS as u32 - 1);
    let mut asked = client.receive();
    let stopping = std::thread::spawn(move || {
        let start = Instant::now();
        served.stop();
        start.elapsed()
    });
    while let Some(message) = asked {
        std::thread::sleep(Duration::from_millis(1000));
        client.answer(&message);
        asked = client.receive();
    }
    let took = stopping.join().unwrap();
    assert!(took < Duration::from_secs(8), "{took:?}");
}
