//! Clients that are asked for their memory while they want something themselves, or take their time. The rings lie in memory that comes with a
//! descriptor, the buffers in memory that the client is asked for.

#[path = "common/vfio_user.rs"]
mod client;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use client::*;
use rustix::io::{pread, pwrite};
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::wire::{Sent, Wire, peer};

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
    let model = Ixgbe::new(IxgbeOptions::new().link_up_us(0));
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

/// The card sends frames whose bytes it asks the client for; the first message of those.
fn asked_for_frames(client: &mut Client, file: &OwnedFd) -> Option<Message> {
    for slot in 0..SLOTS {
        let data = 60 | 3 << 20 | (1 << 29 | 1 << 27 | 1 << 25 | 1 << 24) | 60 << 46u64;
        pwrite(file, &[(BUFFERS + 64 * slot).to_le_bytes(), u64::to_le_bytes(data)].concat(), RING + 16 * slot).unwrap();
    }
    client.write32(0, 0x4A80, 1);
    enable(client, 0x6000);
    client.write32(0, 0x6018, SLOTS as u32 - 1);
    client.receive()
}

/// Each answer comes well within the server's patience.
#[test]
fn a_slow_client_does_not_keep_the_server_from_stopping() {
    let (served, mut client, file, _far) = attached("stop", Answers::AsTheProtocol);
    let mut asked = asked_for_frames(&mut client, &file);
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

/// Waits for a DMA message, and answers it when it has read a register; so with all that come meanwhile.
fn register_first(client: &mut Client) {
    let mut asked = vec![client.receive().expect("a DMA message")];
    let id = client.command(9, 0, &access(0, 8, 4, &[]), &[]);
    loop {
        let message = client.receive().expect("the register");
        if message.flags & 0xf == 1 {
            assert_eq!((message.id, message.command), (id, 9));
            break;
        }
        asked.push(message);
    }
    asked.iter().for_each(|message| client.answer(message));
}

/// Of a client that cannot say now how it lays out data, as QEMU while a processor of its guest reads a register, a frame goes where it belongs.
#[test]
fn a_register_that_is_read_during_the_first_write() {
    for answers in [Answers::AsQemu, Answers::AsTheProtocol] {
        let (_served, mut client, file, mut far) = attached(&format!("first-{answers:?}"), answers);
        for slot in 0..SLOTS {
            pwrite(&file, &(BUFFERS + 2048 * slot).to_le_bytes(), RING + 16 * slot).unwrap();
        }
        client.write32(0, 0x5080, 0x702);
        client.write32(0, 0x1014, 1 << 25 | 2);
        enable(&mut client, 0x1000);
        client.write32(0, 0x3000, 1);
        client.write32(0, 0x1018, SLOTS as u32 - 1);
        let frames: Vec<Vec<u8>> = (0..2).map(|n| (0..300u32).map(|at| if at < 6 { 0xff } else { (at * 7) as u8 ^ n }).collect()).collect();
        assert_eq!(far.send(&frames[0]), Sent::Taken);
        register_first(&mut client);
        for (slot, frame) in frames.iter().enumerate() {
            if slot > 0 {
                assert_eq!(far.send(frame), Sent::Taken);
            }
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut status = [0; 4];
            while status[0] & 1 == 0 {
                assert!(Instant::now() < deadline, "frame {slot} arrives, {answers:?}");
                client.answer_all();
                pread(&file, &mut status, RING + 16 * slot as u64 + 8).unwrap();
            }
            client.answer_all();
            let buffer = &client.memory[2048 * slot..2048 * (slot + 1)];
            assert_eq!(buffer[..300], frame[..], "{answers:?}");
            assert!(buffer[300..].iter().all(|&byte| byte == 0x77), "{answers:?}");
        }
    }
}

/// A client that owes an answer must not make the server run out of descriptors.
#[test]
fn the_descriptors_that_a_waiting_card_holds_are_bounded() {
    let (_served, mut client, file, _far) = attached("descriptors", Answers::AsTheProtocol);
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let _owed = asked_for_frames(&mut client, &file).expect("a DMA message");
    let vectors: Vec<_> = (0..16).map(|_| event()).collect();
    for _ in 0..20 {
        client.command(8, NO_REPLY, &words(&[20, 0x24, 2, 0, 16]), &vectors.iter().collect::<Vec<_>>());
    }
    // The server waits for up to two seconds.
    let end = Instant::now() + Duration::from_secs(1);
    let mut most = 0;
    while Instant::now() < end {
        most = most.max(open().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(most < 200, "{most} more descriptors than before");
}
