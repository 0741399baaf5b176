//! Clients of the vfio-user server that make mistakes: an error reply, or the end of their connection, and the next one is served.

#[path = "common/vfio_user_bytes.rs"]
mod bytes;
#[path = "common/vfio_user.rs"]
mod client;
#[path = "common/vfio_user_rings.rs"]
mod rings;

use std::path::Path;
use std::time::Duration;

use client::*;
use proptest::prelude::*;
use rustix::fd::OwnedFd;
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::wire::peer;

const EEXIST: u32 = 17;
const ENOSYS: u32 = 38;
const EOPNOTSUPP: u32 = 95;

fn served(test: &str) -> Served {
    Served::new(test, Box::new(Ixgbe::new(IxgbeOptions::default())), Box::new(peer::pair(64).0))
}

/// Sends bytes as they are, and tells whether the server closes the connection.
#[track_caller]
fn assert_closes(served: &Served, agreed: bool, bytes: &[u8]) {
    let mut client = if agreed { served.agreed() } else { served.client() };
    client.send(bytes, &[]);
    while let Some(reply) = client.receive() {
        assert_eq!(reply.flags, 0x21, "an error reply before the end");
    }
    // The next one is served.
    served.agreed().ask(13, &[]).good();
}

#[test]
fn versions() {
    let served = served("versions");
    let version = |payload: &[u8]| message_bytes(1, 1, 0, payload);
    for bad in [
        &b"\x01\0\0\0"[..],
        b"\0\0",
        b"",
        b"\0\0\0\0{}",
        b"\0\0\0\0\0",
        b"\0\0\0\0[]\0",
        b"\0\0\0\0{\"capabilities\":1}\0",
        b"\0\0\0\0{\"capabilities\":{\"max_data_xfer_size\":-1}}\0",
        b"\0\0\0\0{\"capabilities\":{\"max_data_xfer_size\":0}}\0",
        b"\0\0\0\0{\"\xff\":1}\0",
    ] {
        assert_closes(&served, false, &version(bad));
    }
    assert_closes(&served, false, &message_bytes(1, 4, 0, &words(&[16, 0, 0, 0])));
    for good in [&b"\0\0\0\0"[..], b"\0\0\x07\0{}\0", b"\0\0\x01\0{\"capabilities\":{}}\0"] {
        let mut client = served.client();
        let reply = client.ask(1, good).good();
        assert_eq!(reply[..4], [0, 0, good[2].min(1), 0]);
        // Once is enough, and a second one ends it.
        assert_eq!(client.ask(1, good).error(), EINVAL);
        assert!(client.is_closed());
    }
    let mut client = served.client();
    let wanted = serde_json::json!({"max_data_xfer_size": 1048576, "max_dma_maps": 65535, "max_msg_fds": 16, "pgsizes": 4096});
    assert_eq!(client.agree(3), serde_json::json!({ "capabilities": wanted }));
}

#[test]
fn headers() {
    let served = served("headers");
    let header = |size: u32, flags: u32| [&[1, 0, 4, 0], &words(&[size, flags, 0])[..]].concat();
    for size in [0, 15, (1 << 20) + 33, u32::MAX] {
        assert_closes(&served, true, &header(size, 0));
    }
    for flags in [1, 2, 0xf] {
        assert_closes(&served, true, &header(16, flags));
    }
    // A message that never becomes whole, with and without its header.
    for part in [1, 15, 16, 20] {
        let mut client = served.agreed();
        client.send(&message_bytes(1, 4, 0, &words(&[16, 0, 0, 0]))[..part], &[]);
        drop(client);
        served.agreed().ask(13, &[]).good();
    }
    // One byte at a time is as good as all at once.
    let mut client = served.agreed();
    for byte in message_bytes(9, 4, 0, &words(&[16, 0, 0, 0])) {
        client.send(&[byte], &[]);
        std::thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(client.reply(9, 4).good(), words(&[16, 3, 9, 5]));
    // A late reply to a DMA message is left alone.
    client.send(&message_bytes(1, 11, 1, &[]), &[]);
    client.ask(13, &[]).good();
}

#[test]
fn commands_of_the_wrong_size_or_that_nobody_knows() {
    let served = served("sizes");
    let mut client = served.agreed();
    for command in [2, 3, 4, 5, 7, 8, 9, 10] {
        assert_eq!(client.ask(command, &[]).error(), EINVAL, "{command}");
        assert_eq!(client.ask(command, &[0; 7]).error(), EINVAL, "{command}");
        assert_eq!(client.ask(command, &[0; 200]).error(), EINVAL, "{command}");
    }
    assert_eq!(client.ask(13, &[0; 4]).error(), EINVAL);
    for command in [6, 11, 12, 14, 16, 17, 18] {
        assert_eq!(client.ask(command, &[0; 32]).error(), EOPNOTSUPP, "{command}");
    }
    for command in [0, 19, 99, u16::MAX] {
        assert_eq!(client.ask(command, &[]).error(), ENOSYS, "{command}");
    }
    for (command, payload) in [(4, words(&[15, 0, 0, 0])), (5, words(&[31, 0, 0, 0, 0, 0, 0, 0])), (5, words(&[32, 0, 9, 0, 0, 0, 0, 0]))] {
        assert_eq!(client.ask(command, &payload).error(), EINVAL);
    }
    for payload in [words(&[15, 0, 0, 0]), words(&[16, 0, 5, 0]), words(&[16, 0, u32::MAX, 0])] {
        assert_eq!(client.ask(7, &payload).error(), EINVAL);
    }
    // No reply is no reply, for mistakes too.
    client.command(99, NO_REPLY, &[], &[]);
    client.ask(13, &[]).good();
}

#[test]
fn accesses_outside_their_region() {
    let served = served("regions");
    let mut client = served.agreed();
    let end = 512 << 10;
    for (region, offset, count) in [
        (0, end, 4),
        (0, end - 2, 4),
        (0, u64::MAX, 4),
        (0, u64::MAX - 3, 4),
        (0, 0, 0),
        (0, 0, u32::MAX),
        (1, 0, 4),
        (6, 0, 1),
        (7, 4096, 1),
        (7, 4095, 2),
        (8, 0, 1),
        (9, 0, 1),
        (u32::MAX, 0, 1),
    ] {
        assert_eq!(client.ask(9, &access(region, offset, count, &[])).error(), EINVAL, "{region} {offset:#x} {count}");
        let data = vec![0; count.min(64) as usize];
        assert_eq!(client.ask(10, &access(region, offset, count, &data)).error(), EINVAL, "{region} {offset:#x} {count}");
    }
    assert_eq!(client.ask(9, &access(7, 0, 4, &[1])).error(), EINVAL);
    assert_eq!(client.ask(10, &access(7, 4, 4, &[1, 2])).error(), EINVAL);
    assert_eq!(client.ask(10, &access(7, 4, 1, &[1, 2])).error(), EINVAL);
    // Odd ranges are split into what is aligned.
    let all = client.read(7, 0, 64);
    for (from, to) in [(1, 8), (3, 4), (5, 64), (62, 64), (7, 21)] {
        assert_eq!(client.read(7, from as u64, (to - from) as u32), all[from..to]);
    }
}

#[test]
fn mappings() {
    let served = served("mappings");
    let mut client = served.agreed();
    let file = memfd(1 << 20);
    let map = dma_map;
    for (payload, with_file) in [
        (map(3, 0, 0, 0), true),
        (map(3, 0, u64::MAX, 2), true),
        (map(0, 0, 0, 4096), true),
        (map(1 << 4 | 3, 0, 0, 4096), true),
        (map(3, 1 << 20, 0, 4096), true),
        (map(3, 0, 0, (1 << 20) + 1), true),
        (map(3, u64::MAX, 0, 4096), true),
        (map(3, 0, 0, 0), false),
        ([&words(&[31]), &map(3, 0, 0, 4096)[4..]].concat(), true),
    ] {
        let files: &[&OwnedFd] = if with_file { &[&file] } else { &[] };
        assert_eq!(client.ask_with(2, &payload, files).error(), EINVAL);
    }
    assert_eq!(client.ask_with(2, &map(3, 0, 0, 4096), &[&file, &file]).error(), EINVAL, "two descriptors");
    assert_ne!(client.ask_with(2, &map(3, 0, 0, 4096), &[&event()]).error(), 0, "an eventfd cannot be mapped");
    assert_eq!(client.ask_with(3, &dma_unmap(0, 0, 4096), &[&file]).error(), EINVAL, "a descriptor that nobody wants");
    assert_eq!(client.ask_with(4, &words(&[16, 0, 0, 0]), &[&file]).error(), EINVAL);

    client.ask_with(2, &map(3, 0, 0x10000, 0x10000), &[&file]).good();
    client.ask(2, &map(3, 0, 0x30000, 0x10000)).good();
    for (first, len) in [(0x10000, 0x10000), (0x1f000, 0x1000), (0xf000, 0x1001), (0, 0x100000), (0x3f000, 0x2000), (0x20000, 0x10001)] {
        assert_eq!(client.ask_with(2, &map(3, 0, first, len), &[&file]).error(), EEXIST, "{first:#x}");
        assert_eq!(client.ask(2, &map(3, 0, first, len)).error(), EEXIST, "{first:#x}");
    }
    client.ask(2, &map(1, 0, 0x20000, 0x10000)).good();
    // The middle of one goes, and can be mapped again.
    client.ask(3, &dma_unmap(0, 0x14000, 0x20000)).good();
    client.ask_with(2, &map(3, 0, 0x14000, 0x20000), &[&file]).good();
    assert_eq!(client.ask(2, &map(3, 0, 0x13fff, 1)).error(), EEXIST);
    assert_eq!(client.ask(2, &map(3, 0, 0x34000, 1)).error(), EEXIST);

    for payload in [dma_unmap(0, 0, 0), dma_unmap(0, u64::MAX, 2), dma_unmap(4, 0, 4096), dma_unmap(2, 0, 4096), dma_unmap(2, 4096, 0)] {
        assert_eq!(client.ask(3, &payload).error(), EINVAL);
    }
    assert_eq!(client.ask(3, &dma_unmap(1, 0x10000, 0x1000)).error(), EOPNOTSUPP);
    client.ask(3, &dma_unmap(2, 0, 0)).good();
    client.ask(2, &map(3, 0, 0, 1 << 40)).good();
}

#[test]
fn many_writes_in_one_message() {
    let served = served("multi");
    let mut client = served.agreed();
    client.write(7, 4, &[6, 0]);
    let one = |region: u32, offset: u64, data: &[u8]| {
        let mut write = access(region, offset, data.len() as u32, data);
        write.resize(24, 0);
        write
    };
    let message = |count: u64, writes: &[Vec<u8>]| [count.to_le_bytes().to_vec(), writes.concat()].concat();
    let writes = [one(0, 0x5400, &[1, 2, 3, 4]), one(7, 0x3c, &[9]), one(0, 0x5408, &[5; 8])];
    assert_eq!(client.ask(15, &message(3, &writes)).good(), 3u64.to_le_bytes());
    assert_eq!((client.read32(0, 0x5400), client.read(7, 0x3c, 1)[0], client.read32(0, 0x5408)), (0x0403_0201, 9, 0x0505_0505));
    assert_eq!(client.ask(15, &message(0, &[])).good(), 0u64.to_le_bytes());
    // Posted, as QEMU sends them.
    client.command(15, NO_REPLY, &message(1, &[one(0, 0x5400, &[7; 4])]), &[]);
    assert_eq!(client.read32(0, 0x5400), 0x0707_0707);
    let outside = [one(0, 0x5400, &[8; 4]), one(0, 1 << 30, &[8; 4])];
    let mut long = one(0, 0x5400, &[8; 8]);
    long[12] = 9;
    for payload in [message(2, &writes), message(2, &outside), message(1, &[long]), message(1, &[vec![0; 23]]), vec![0; 7]] {
        assert_eq!(client.ask(15, &payload).error(), EINVAL);
    }
    assert_eq!(client.read32(0, 0x5400), 0x0707_0707, "all or none");
}

#[test]
fn interrupts() {
    let served = served("interrupts");
    let mut client = served.agreed();
    let events: Vec<_> = (0..3).map(|_| event()).collect();
    let fds: Vec<_> = events.iter().collect();
    let file = memfd(4096);
    let mut refused = |flags, index, start, count, data: &[u8], fds: &[&OwnedFd]| {
        assert_eq!(client.set_irqs(flags, index, start, count, data, fds).error(), EINVAL, "{flags:#x} {index} {start} {count}");
    };
    // No action, two, no data, two, bits that nobody knows, ranges, types, lengths, descriptors.
    for flags in [0x04, 0x20, 0x2c, 0x23, 0x26, 0x64, 0] {
        refused(flags, 2, 0, 3, &[], &[]);
    }
    refused(0x24, 2, 62, 3, &[], &fds);
    refused(0x24, 2, u32::MAX, u32::MAX, &[], &[]);
    refused(0x24, 5, 0, 1, &[], &[]);
    refused(0x24, 3, 0, 2, &[], &[]);
    refused(0x24, 2, 0, 2, &[], &fds);
    refused(0x24, 2, 0, 3, &[0; 4], &fds);
    refused(0x21, 2, 0, 3, &[], &fds);
    refused(0x22, 2, 0, 3, &[1, 1], &[]);
    refused(0x24, 2, 0, 1, &[], &[&file]);
    refused(0x28, 2, 0, 0, &[], &[]);
    refused(0x14, 0, 0, 1, &[], &[&file]);
    assert_eq!(client.ask(8, &words(&[19, 0x21, 2, 0, 1])).error(), EINVAL);
    // A descriptor unmasks the line; messages are not masked so, and nothing is masked by one.
    for (flags, index) in [(0x14, 2), (0x0c, 0)] {
        assert_eq!(client.set_irqs(flags, index, 0, 1, &[], &[fds[0]]).error(), EOPNOTSUPP);
    }
    for index in [3, 4] {
        client.set_irqs(0x24, index, 0, 1, &[], &[fds[0]]).good();
        client.set_irqs(0x21, index, 0, 0, &[], &[]).good();
    }

    let seen = || events.iter().map(fired).collect::<Vec<_>>();
    client.set_irqs(0x24, 2, 1, 3, &[], &fds).good();
    // MSI-X is on now, as a host leaves it.
    assert_eq!(client.read(7, 0x72, 2)[1] & 0x80, 0x80);
    client.set_irqs(0x21, 2, 0, 3, &[], &[]).good();
    assert_eq!(seen(), [1, 1, 0]);
    client.set_irqs(0x22, 2, 1, 3, &[1, 0, 7], &[]).good();
    assert_eq!(seen(), [1, 0, 1]);
    // Masked, they wait.
    client.set_irqs(0x0a, 2, 1, 3, &[1, 1, 0], &[]).good();
    client.set_irqs(0x21, 2, 1, 3, &[], &[]).good();
    assert_eq!(seen(), [0, 0, 1]);
    client.set_irqs(0x11, 2, 1, 1, &[], &[]).good();
    assert_eq!(seen(), [1, 0, 0]);
    // EVENTFD without descriptors takes them away; QEMU turns MSI-X on with one of these.
    client.set_irqs(0x24, 2, 2, 2, &[], &[]).good();
    client.set_irqs(0x11, 2, 2, 2, &[], &[]).good();
    client.set_irqs(0x21, 2, 1, 3, &[], &[]).good();
    assert_eq!(seen(), [1, 0, 0]);
    // Other types have vectors of their own.
    client.set_irqs(0x24, 0, 0, 1, &[], &[fds[2]]).good();
    client.set_irqs(0x21, 0, 0, 1, &[], &[]).good();
    client.set_irqs(0x24, 0, 0, 0, &[], &[]).good();
    client.set_irqs(0x21, 0, 0, 1, &[], &[]).good();
    assert_eq!(seen(), [0, 0, 1]);
    client.set_irqs(0x21, 2, 0, 0, &[], &[]).good();
    client.set_irqs(0x21, 2, 1, 3, &[], &[]).good();
    assert_eq!((seen(), client.read(7, 0x72, 2)[1] & 0x80), (vec![0; 3], 0));
}

#[test]
fn too_many_descriptors() {
    let served = served("descriptors");
    let mut client = served.agreed();
    let events: Vec<_> = (0..40).map(|_| event()).collect();
    let fds: Vec<_> = events.iter().collect();
    client.set_irqs(0x24, 2, 0, 16, &[], &fds[..16]).good();
    assert_eq!(client.set_irqs(0x24, 2, 0, 17, &[], &fds[..17]).error(), EINVAL);
    assert_eq!(client.set_irqs(0x24, 2, 0, 16, &[], &fds[1..18]).error(), EINVAL, "one more than arrives");
    assert_eq!(client.set_irqs(0x24, 2, 0, 40, &[], &fds).error(), EINVAL);
    client.set_irqs(0x21, 2, 0, 64, &[], &[]).good();
    assert_eq!(events.iter().map(fired).sum::<u64>(), 16, "the first ones stay");
}

/// Descriptors stay with their message, however messages lie in the socket.
#[test]
fn descriptors_belong_to_one_message() {
    let served = served("belong");
    let mut client = served.agreed();
    let events: Vec<_> = (0..8).map(|_| event()).collect();
    for (vector, event) in (0..).zip(&events) {
        client.command(4, 0, &words(&[16, 0, 0, 0]), &[]);
        client.command(8, 0, &words(&[20, 0x24, 2, vector, 1]), &[event]);
        client.command(10, NO_REPLY, &access(7, 4, 1, &[6]), &[]);
    }
    for _ in 0..2 * events.len() {
        client.receive().unwrap().good();
    }
    for (vector, event) in (0..).zip(&events) {
        client.set_irqs(0x21, 2, vector, 1, &[], &[]).good();
        assert_eq!((fired(event), events.iter().map(fired).sum::<u64>()), (1, 0), "{vector}");
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![Just(0u64), 0..64u64, Just(4096), Just(1 << 20), any::<u64>(), Just(u64::MAX), (0..63u32).prop_map(|bit| 1 << bit)];
    let small = prop_oneof![0..80u32, any::<u32>()];
    let numbers = (small.clone(), 0..64u32, number.clone(), number.clone(), number);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        numbers.clone().prop_map(|(_, flags, offset, address, size)| dma_map(flags, offset, address, size)),
        numbers.clone().prop_map(|(_, flags, _, address, size)| dma_unmap(flags, address, size)),
        numbers.prop_map(|(count, region, offset, ..)| access(region % 9, offset, count, &vec![0x5a; (count % 64) as usize])),
        (0..64u32, 0..6u32, small.clone(), small).prop_map(|(flags, index, start, count)| words(&[20, flags, index, start, count])),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        bytes::serve_bytes(&input);
    }

    /// Registers, rings and the memory they lie in, on a card that moves.
    #[test]
    fn no_rings_panic(input in rings::rings()) {
        bytes::serve_bytes(&input);
    }

    #[test]
    fn no_messages_panic(
        steps in prop::collection::vec((0..4u8, any::<bool>(), 1..20u8, prop_oneof![Just(0u8), Just(16), any::<u8>()], payload()), 0..12),
        cut in 0..2000usize,
    ) {
        let mut input = vec![1];
        for (descriptors, eventfds, command, flags, payload) in steps {
            input.extend(bytes::encoded(descriptors, eventfds, command, flags, &payload));
        }
        input.truncate(cut.max(1));
        bytes::serve_bytes(&input);
    }
}

/// What the fuzz target starts from, and what it found. The seeds named here come as far as frames, through memory of either kind.
#[test]
fn the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/vfio_user");
    for entry in std::fs::read_dir(&folder).unwrap() {
        bytes::serve_bytes(&std::fs::read(entry.unwrap().path()).unwrap());
    }
    for (name, asks) in [("frames-by-message", true), ("frames-shared", false), ("virtio-by-message", true), ("virtio-shared", false)] {
        let seed = std::fs::read(folder.join(name)).unwrap();
        // A card that has no time to move sends nothing yet.
        let mut reached = (0..20).map(|_| bytes::serve_bytes(&seed));
        assert!(reached.any(|reached| reached.sent == 1 && (reached.asked > 0) == asks), "{name}");
    }
}
