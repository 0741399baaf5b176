//! Frames through a card behind a vfio-user socket: DMA to memory with descriptors, and by message.

#[path = "common/vfio_user.rs"]
mod client;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::*;
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::wire::peer::{self, Peer};
use sim::wire::{Sent, Wire};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const PAGE: u64 = 4096;
const PAGES: u64 = 64;
/// Where the driver's memory lies for the device: above 4 GiB.
const BASE: u64 = 0x1_2345_0000;
const TX_RING: u64 = BASE;
const RX_RING: u64 = BASE + PAGE;
/// Both buffers begin a few bytes before the end of a page.
const TX_BUFFER: u64 = BASE + 5 * PAGE - 20;
const RX_BUFFER: u64 = BASE + 9 * PAGE - 1024;

const LINKS: u64 = 0x42A4;
const ENABLE: u32 = 1 << 25;

/// A driver of a few lines.
struct Driver {
    client: Client,
    /// The memory, with its pages in another order than the device sees them; without it the client is asked.
    file: Option<OwnedFd>,
}

/// Which page of the file a page of the device's addresses is.
fn shuffled(page: u64) -> u64 {
    page * 7 % PAGES
}

impl Driver {
    fn new(mut client: Client, by_message: bool) -> Self {
        let file = (!by_message).then(|| memfd(PAGES * PAGE));
        match &file {
            Some(file) => {
                for page in 0..PAGES {
                    client.ask_with(2, &dma_map(3, shuffled(page) * PAGE, BASE + page * PAGE, PAGE), &[file]).good();
                }
            }
            None => {
                (client.memory, client.memory_at) = (vec![0; (PAGES * PAGE) as usize], BASE);
                // In two parts: an access may reach into both.
                client.ask(2, &dma_map(3, 0, BASE, 5 * PAGE)).good();
                client.ask(2, &dma_map(3, 0, BASE + 5 * PAGE, (PAGES - 5) * PAGE)).good();
            }
        }
        Self { client, file }
    }

    /// The parts of a range by page: where each lies in the file, and which of the bytes it holds.
    fn parts(address: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = address - BASE + done as u64;
            let end = len.min(done + (PAGE - at % PAGE) as usize);
            let part = (done < len).then_some((shuffled(at / PAGE) * PAGE + at % PAGE, done..end));
            done = end;
            part
        })
    }

    fn put(&mut self, address: u64, bytes: &[u8]) {
        match &self.file {
            Some(file) => Self::parts(address, bytes.len()).for_each(|(at, range)| _ = rustix::io::pwrite(file, &bytes[range], at).unwrap()),
            None => self.client.memory[(address - BASE) as usize..][..bytes.len()].copy_from_slice(bytes),
        }
    }

    fn get(&mut self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        match &self.file {
            Some(file) => Self::parts(address, len).for_each(|(at, range)| _ = rustix::io::pread(file, &mut bytes[range], at).unwrap()),
            None => bytes.copy_from_slice(&self.client.memory[(address - BASE) as usize..][..len]),
        }
        bytes
    }

    fn r(&mut self, register: u64) -> u32 {
        self.client.read32(0, register)
    }

    fn w(&mut self, register: u64, value: u32) {
        self.client.write32(0, register, value);
    }

    fn set(&mut self, register: u64, bits: u32) {
        let value = self.r(register);
        self.w(register, value | bits);
    }

    /// Waits until something is so.
    #[track_caller]
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what} within 20 s");
            if self.file.is_none() { self.client.answer_all() } else { std::thread::yield_now() }
        }
    }

    fn ring(&mut self, block: u64, at: u64) {
        self.w(block, at as u32);
        self.w(block + 4, (at >> 32) as u32);
        self.w(block + 8, 8 * 16);
        self.w(block + 0x28, ENABLE);
        self.until("a queue is enabled", |driver| driver.r(block + 0x28) == ENABLE);
    }

    /// The card up with a link, a transmit queue, a receive queue with one buffer, and vector 1 for the latter.
    fn start(&mut self) -> OwnedFd {
        let events: Vec<_> = (0..2).map(|_| event()).collect();
        self.client.write(7, 4, &[6, 0]);
        self.client.set_irqs(0x24, 2, 0, 2, &[], &events.iter().collect::<Vec<_>>()).good();
        self.until("the link is up", |driver| driver.r(LINKS) & 1 << 30 != 0);
        self.set(0x4A80, 1);
        self.ring(0x6000, TX_RING);
        self.w(0x1014, 1 << 25 | 2);
        self.ring(0x1000, RX_RING);
        self.put(RX_RING, &[RX_BUFFER.to_le_bytes(), [0; 8]].concat());
        // RXCTRL.RXEN in the datasheet's order (4.6.7).
        self.set(0x2F00, 2);
        self.set(0x8D00, 2);
        self.until("the receive path is quiet", |driver| driver.r(0x8D04) & 1 == 1);
        self.w(0x3000, 1);
        self.w(0x8D00, 0);
        // MSI-X, vector 1 for receive queue 0, auto clear.
        self.w(0x898, 1 << 4 | 1 << 31);
        self.w(0x900, 0x81);
        self.w(0x880, 0x3);
        self.w(0x1018, 1);
        events.into_iter().nth(1).unwrap()
    }

    fn transmit(&mut self, frame: &[u8]) {
        let command = 1u64 << 29 | 1 << 25 | 1 << 24 | 1 << 27;
        let data = frame.len() as u64 | 3 << 20 | command | (frame.len() as u64) << 46;
        self.put(TX_BUFFER, frame);
        self.put(TX_RING, &[TX_BUFFER.to_le_bytes(), data.to_le_bytes()].concat());
        self.w(0x6018, 1);
        self.until("the descriptor is written back", |driver| driver.get(TX_RING + 12, 1)[0] & 1 == 1);
    }

    fn receive(&mut self, wire: &mut Peer, frame: &[u8], event: &OwnedFd) -> Vec<u8> {
        assert_eq!(wire.send(frame), Sent::Taken);
        self.until("the frame is there", |driver| driver.get(RX_RING + 8, 1)[0] & 1 == 1);
        self.until("the interrupt", |_| fired(event) > 0);
        let len = self.get(RX_RING + 12, 2);
        self.get(RX_BUFFER, u16::from_le_bytes([len[0], len[1]]).into())
    }
}

fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
    frame[..6].copy_from_slice(&to);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0xB5]);
    frame
}

fn served(test: &str) -> (Served, Peer) {
    let (near, far) = peer::pair(64);
    let model = Box::new(Ixgbe::new(IxgbeOptions::new().mac(MAC)));
    (Served::new(test, model, Box::new(near)), far)
}

/// One frame each way, with every byte compared.
fn both_ways(driver: &mut Driver, wire: &mut Peer) {
    let event = driver.start();
    let out = frame([2, 0, 0, 0, 0, 9], 1400);
    driver.transmit(&out);
    let mut seen = Vec::new();
    assert!(wire.receive(&mut seen));
    assert_eq!(seen, out);
    let sent = frame(MAC, 1500);
    assert_eq!(driver.receive(wire, &sent, &event), sent);
}

#[test]
fn frames_through_shared_memory() {
    let (served, mut wire) = served("fds");
    let mut driver = Driver::new(served.agreed(), false);
    both_ways(&mut driver, &mut wire);
    assert_eq!(driver.client.asked, 0);
    drop(driver);
    // The next client finds the same card, and goes the same way.
    let mut driver = Driver::new(served.agreed(), false);
    both_ways(&mut driver, &mut wire);
    drop(driver);
    assert_eq!(served.stop(), (Vec::new(), 2));
}

#[test]
fn frames_by_message() {
    for (minor, answers) in [(0, Answers::AsQemu), (1, Answers::AsTheProtocol), (0, Answers::AsTheProtocol), (1, Answers::AsQemu)] {
        let (served, mut wire) = served(&format!("messages-{minor}-{answers:?}"));
        let mut client = served.client();
        client.agree(minor);
        client.answers = answers;
        let mut driver = Driver::new(client, true);
        both_ways(&mut driver, &mut wire);
        assert!(driver.client.asked > 4, "{minor} {answers:?}");
        drop(driver);
        assert_eq!(served.stop(), (Vec::new(), 1), "{minor} {answers:?}");
    }
}

/// A client that refuses, or never answers, stalls a card for a while; commands are served again afterwards.
#[test]
fn a_client_that_does_not_answer() {
    for answers in [Answers::WithErrors, Answers::Never] {
        let (served, _wire) = served(&format!("silent-{answers:?}"));
        let mut driver = Driver::new(served.agreed(), true);
        driver.start();
        driver.client.answers = answers;
        driver.w(0x6018, 1);
        driver.client.answer_all();
        assert_ne!(driver.r(LINKS), u32::MAX);
        driver.w(0x5400, 0x77);
        assert_eq!(driver.r(0x5400), 0x77);
        drop(driver);
        assert_eq!(served.stop(), (Vec::new(), 1));
    }
}

#[test]
fn dma_outside_the_mappings_is_a_violation() {
    let (served, _wire) = served("outside");
    let mut driver = Driver::new(served.agreed(), false);
    driver.start();
    // One page of the buffer is taken away.
    driver.client.ask(3, &dma_unmap(0, BASE + 5 * PAGE, PAGE)).good();
    driver.put(TX_RING, &[TX_BUFFER.to_le_bytes(), (100u64 | 3 << 20 | 1 << 29 | 1 << 25 | 1 << 24 | 100 << 46).to_le_bytes()].concat());
    driver.w(0x6018, 1);
    driver.client.let_the_card_move();
    drop(driver);
    let (violations, _) = served.stop();
    assert!(violations[0].starts_with("DMA outside the mappings at DMA read of 100 bytes"), "{violations:?}");
}

/// Frames that arrive, in the test's hands.
struct Arriving(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Wire for Arriving {
    fn send(&mut self, _: &[u8]) -> Sent {
        Sent::Taken
    }
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        self.0.lock().unwrap().pop_front().map(|next| *frame = next).is_some()
    }
}

#[test]
fn a_pulled_cable_takes_the_link_and_the_frames_from_the_card() {
    let arriving = Arc::new(Mutex::new(VecDeque::new()));
    let model = Box::new(Ixgbe::new(IxgbeOptions::new().mac(MAC)));
    let served = Served::new("cable", model, Box::new(Arriving(Arc::clone(&arriving))));
    let mut driver = Driver::new(served.agreed(), false);
    driver.start();
    let is_up = |driver: &mut Driver| driver.r(LINKS) & 1 << 30 != 0;
    served.cable.pull();
    driver.until("the link is down", |driver| !is_up(driver));
    arriving.lock().unwrap().push_back(frame(MAC, 60));
    driver.until("the frame is lost", |_| arriving.lock().unwrap().is_empty());
    assert!(!served.cable.is_plugged_in());
    served.cable.plug_in();
    driver.until("the link is up again", is_up);
    let sent = frame(MAC, 100);
    arriving.lock().unwrap().push_back(sent.clone());
    driver.until("a frame is there", |driver| driver.get(RX_RING + 8, 1)[0] & 1 == 1);
    assert_eq!((driver.get(RX_RING + 12, 1), driver.get(RX_BUFFER, 100)), (vec![100], sent));
    // Who comes next finds the cable as it is.
    served.cable.pull();
    drop(driver);
    let mut next = Driver::new(served.agreed(), false);
    next.client.write(7, 4, &[6, 0]);
    std::thread::sleep(Duration::from_millis(5));
    assert!(!is_up(&mut next));
    served.cable.plug_in();
    next.until("the link is up", is_up);
    drop(next);
    assert_eq!(served.stop(), (Vec::new(), 2));
}

/// A driver that has told the card of one frame, and the DMA message with which the card asks for it.
fn asked_for_a_frame(driver: &mut Driver) -> (Vec<u8>, Message) {
    driver.start();
    driver.client.answer_all();
    let out = frame([2, 0, 0, 0, 0, 9], 300);
    let data = 300u64 | 3 << 20 | 1 << 29 | 1 << 25 | 1 << 24 | 1 << 27 | 300 << 46;
    driver.put(TX_BUFFER, &out);
    driver.put(TX_RING, &[TX_BUFFER.to_le_bytes(), data.to_le_bytes()].concat());
    driver.w(0x6018, 1);
    let asked = driver.client.receive().unwrap();
    assert_eq!((asked.command, asked.flags), (11, 0));
    (out, asked)
}

/// The reply to a command of a client that answers no DMA message before it; those that came meanwhile.
fn reply_first(driver: &mut Driver, id: u16, command: u16) -> (Message, Vec<Message>) {
    let mut later = Vec::new();
    loop {
        let message = driver.client.receive().unwrap();
        if message.flags & 0xf == 1 {
            assert_eq!((message.id, message.command), (id, command));
            return (message, later);
        }
        later.push(message);
    }
}

/// QEMU answers no DMA message while a processor of its guest waits for a register: the processor holds QEMU's big lock, and DMA messages are answered
/// by the main loop, which takes it. So the server answers first, and asks again.
#[test]
fn commands_are_answered_while_the_card_waits() {
    let (served, mut wire) = served("waits");
    let mut driver = Driver::new(served.agreed(), true);
    let (out, asked) = asked_for_a_frame(&mut driver);
    let (began, mut later) = (Instant::now(), vec![asked]);
    for value in 1..=3 {
        let id = driver.client.command(10, 0, &access(0, 0x5400, 4, &[value, 0, 0, 0]), &[]);
        let (reply, mut more) = reply_first(&mut driver, id, 10);
        assert_eq!(reply.good(), access(0, 0x5400, 4, &[]));
        later.append(&mut more);
        let id = driver.client.command(9, 0, &access(0, 0x5400, 4, &[]), &[]);
        let (reply, mut more) = reply_first(&mut driver, id, 9);
        assert_eq!(reply.good()[16..], [value, 0, 0, 0], "served in order, and at once");
        later.append(&mut more);
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    // What is not there any more is refused, not acknowledged unseen.
    let id = driver.client.command(10, 0, &access(0, 1 << 30, 4, &[0; 4]), &[]);
    let (reply, mut more) = reply_first(&mut driver, id, 10);
    assert_eq!(reply.error(), EINVAL);
    later.append(&mut more);
    for message in later {
        driver.client.answer(&message);
    }
    driver.until("the descriptor is written back", |driver| driver.get(TX_RING + 12, 1)[0] & 1 == 1);
    let mut seen = Vec::new();
    assert!(wire.receive(&mut seen));
    assert_eq!(seen, out);
    assert!(!wire.receive(&mut seen), "once");
    drop(driver);
    assert_eq!(served.stop().0, Vec::<String>::new());
}

/// An interrupt does not overtake what it tells of, though nobody waits for that to be written.
#[test]
fn interrupts_wait_for_what_was_written() {
    let (served, _wire) = served("posted-irq");
    let mut driver = Driver::new(served.agreed(), true);
    let vector = driver.start();
    // Transmit queue 0 on vector 1, too.
    driver.w(0x900, 0x81 | 0x81 << 8);
    driver.client.answer_all();
    fired(&vector);
    let data = 100u64 | 3 << 20 | 1 << 29 | 1 << 25 | 1 << 24 | 1 << 27 | 100 << 46;
    driver.put(TX_BUFFER, &frame([2, 0, 0, 0, 0, 9], 100));
    driver.put(TX_RING, &[TX_BUFFER.to_le_bytes(), data.to_le_bytes()].concat());
    driver.client.post32(0, 0x6018, 1);
    // Every read is answered, until the first write comes: the report.
    let report = loop {
        let message = driver.client.receive().unwrap();
        if message.command == 12 {
            break message;
        }
        driver.client.answer(&message);
    };
    let id = driver.client.command(9, 0, &access(0, LINKS, 4, &[]), &[]);
    let (_, more) = reply_first(&mut driver, id, 9);
    std::thread::sleep(Duration::from_millis(20));
    // The report's second word goes out at once; then the card stands still, and keeps its interrupt back.
    let written: Vec<_> = [report].into_iter().chain(more).collect();
    assert!(written.iter().all(|message| message.command == 12));
    driver.client.answer(&written[0]);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(fired(&vector), 0);
    written[1..].iter().for_each(|message| driver.client.answer(message));
    let deadline = Instant::now() + Duration::from_secs(20);
    while fired(&vector) == 0 {
        assert!(Instant::now() < deadline, "the interrupt does not come");
        driver.client.answer_all();
    }
    assert_eq!(driver.get(TX_RING + 12, 1)[0] & 1, 1);
    drop(driver);
    assert_eq!(served.stop().0, Vec::<String>::new());
}

/// More posted writes than are kept, while an answer is on its way: none of them is a mistake of the client's.
#[test]
fn many_posted_writes_while_the_card_waits() {
    let (served, _wire) = served("posted");
    let mut driver = Driver::new(served.agreed(), true);
    let (_, asked) = asked_for_a_frame(&mut driver);
    for value in 0..1100 {
        driver.client.post32(0, 0x5400, value);
    }
    driver.client.answer(&asked);
    driver.until("the descriptor is written back", |driver| driver.get(TX_RING + 12, 1)[0] & 1 == 1);
    assert_eq!(driver.r(0x5400), 1099);
}

/// A client that answers each DMA message at once, and posts 100 writes with each: the card serves 64 commands for all that one turn asks.
#[test]
fn posted_writes_with_each_answer() {
    let (served, mut wire) = served("stream");
    let mut driver = Driver::new(served.agreed(), true);
    driver.start();
    driver.client.answer_all();
    let data = 300u64 | 3 << 20 | 1 << 29 | 1 << 25 | 1 << 24 | 1 << 27 | 300 << 46;
    driver.put(TX_BUFFER, &frame([2, 0, 0, 0, 0, 9], 300));
    for slot in 0..7 {
        driver.put(TX_RING + 16 * slot, &[TX_BUFFER.to_le_bytes(), data.to_le_bytes()].concat());
    }
    driver.client.post32(0, 0x6018, 7);
    let mut value = 0;
    while driver.get(TX_RING + 6 * 16 + 12, 1)[0] & 1 == 0 {
        let message = driver.client.receive().unwrap_or_else(|| panic!("the server closed the connection after {value} writes"));
        for _ in 0..100 {
            value += 1;
            driver.client.post32(0, 0x5400, value);
        }
        driver.client.answer(&message);
    }
    assert_eq!(driver.r(0x5400), value);
    let mut seen = Vec::new();
    assert!(wire.receive(&mut seen));
}

/// A client that owes an answer must not make the server hold a gigabyte.
#[test]
fn what_a_waiting_card_holds_is_bounded() {
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        (text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096) >> 20
    };
    let (served, _wire) = served("memory");
    let mut driver = Driver::new(served.agreed(), true);
    let (_, _asked) = asked_for_a_frame(&mut driver);
    let before = resident();
    let message = message_bytes(1, 10, NO_REPLY, &access(0, 0, 1 << 20, &vec![0x5a; 1 << 20]));
    let began = Instant::now();
    let mut most = 0;
    for _ in 0..900 {
        if std::io::Write::write_all(&mut driver.client.stream, &message).is_err() {
            break;
        }
        most = most.max(resident().saturating_sub(before));
    }
    assert!(most < 128, "{most} MiB in {:?}", began.elapsed());
}
