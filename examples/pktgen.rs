//! Generates frames at a rate.

mod common;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use barewire::driver_core::ether::{HEADER_BYTES, STANDARD_MTU};
use barewire::{Batch, BufPool, Config, Error, MacAddr, Port, RxQueue, SpecError, TxDrops, TxQueue};
use clap::Parser;
use common::{Drained, Run, finish, say};

/// Sends UDP datagrams over IPv4, numbered from 0, until the count is reached or Ctrl-C.
///
/// Exit status 1: not all were sent, or the device failed; 2: wrong usage.
#[derive(Parser)]
struct Args {
    /// The device: 0000:01:00.0, vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options
    device: String,
    /// Frames a second, or `max`
    #[arg(long, value_name = "PPS", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// Length of a frame in bytes, without check sequence
    #[arg(long, value_name = "BYTES", default_value_t = 60, value_parser = clap::value_parser!(u16).range(MIN_BYTES as i64..=9724))]
    size: u16,
    /// How many; without it until Ctrl-C
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The destination's Ethernet address
    #[arg(long, value_name = "MAC", default_value = "02:00:00:00:00:fe")]
    to: MacAddr,
}

#[derive(Debug, Clone, Copy)]
enum Rate {
    Max,
    Pps(u64),
}

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "max" => Ok(Rate::Max),
        _ => text.parse().ok().filter(|&pps| pps > 0).map(Rate::Pps).ok_or_else(|| "give a number of frames a second from 1 on, or max".into()),
    }
}

/// Ethernet, IPv4, UDP and the number.
const MIN_BYTES: usize = HEADER_BYTES + 20 + 8 + 8;
/// Frames handed over at once, at most.
const BATCH: usize = 64;
/// How late a frame may be for the rate to be kept all the same.
const LATE_LIMIT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    common::main(run)
}

fn run(args: &Args) -> Result<bool, Error> {
    let device = barewire::open(&args.device)?;
    let mtu = u32::from(args.size).saturating_sub(HEADER_BYTES as u32).max(STANDARD_MTU.min(device.info().max_mtu));
    if mtu > device.info().max_mtu {
        return Err(SpecError::new("--size", format!("a frame of {} bytes is longer than {} sends", args.size, args.device)).into());
    }
    let mut port = device.start(&Config::new().mtu(mtu))?;
    let mut run = Run::new(None);
    run.wait_for_links(&mut [&mut port]);
    let Some((rx, tx)) = port.take_queues() else { unreachable!("a started port has queues") };
    let template = template(args.size.into(), port.control.mac(), args.to);
    let mut generator = Generator { template, pool: port.pool.clone(), next: 0, rx, tx, batch: Batch::new(BATCH), inbox: Batch::new(BATCH) };

    let generated = generator.run(args, &mut run, &mut port);
    let (seconds, sent) = (run.seconds(), generator.tx.counters().packets);
    let totals = port.control.stats();
    let on_wire = totals.tx_packets;
    let ended = finish([port], &[totals], generated);
    say(format_args!("sent={on_wire} mpps={:.3}", on_wire as f64 / seconds / 1e6));
    ended.map(|()| on_wire >= sent.max(args.count.unwrap_or(0)))
}

/// When which frame is due.
struct Pace {
    rate: Rate,
    /// When frame `first` was due: the others follow it.
    since: Instant,
    first: u64,
    made: u64,
}

impl Pace {
    fn new(rate: Rate) -> Self {
        Self { rate, since: Instant::now(), first: 0, made: 0 }
    }

    /// How many frames are due: the first at once, the n-th after it n / rate seconds later. After a pause (the program was stopped) it goes on as before
    /// instead of sending at once all that it could not send.
    fn due(&mut self, now: Instant) -> u64 {
        let Rate::Pps(pps) = self.rate else { return u64::MAX };
        let due = |elapsed: Duration| (elapsed.as_nanos() * u128::from(pps) / 1_000_000_000) as u64 + 1;
        let late = (self.first + due(now - self.since)).saturating_sub(self.made);
        if late > due(LATE_LIMIT) {
            (self.since, self.first) = (now, self.made);
        }
        self.first + due(now - self.since)
    }

    /// How many have been made.
    fn has_made(&mut self, made: u64) {
        self.made = made;
    }
}

struct Generator {
    template: Vec<u8>,
    pool: BufPool,
    /// The number of the next frame.
    next: u64,
    rx: Box<dyn RxQueue>,
    tx: Box<dyn TxQueue>,
    batch: Batch,
    inbox: Batch,
}

impl Generator {
    fn run(&mut self, args: &Args, run: &mut Run, port: &mut Port) -> Result<(), Error> {
        let mut pace = Pace::new(args.rate);
        let count = args.count.unwrap_or(u64::MAX);
        while (self.next < count || !self.batch.is_empty()) && run.goes_on(&mut [port]) {
            self.make(pace.due(Instant::now()).min(count).saturating_sub(self.next));
            pace.has_made(self.next);
            let before = self.batch.len();
            self.submit(&args.device)?;
            // What arrives is not wanted, but would fill the ring.
            let received = self.rx.poll(&mut self.inbox, BATCH);
            self.inbox.clear();
            run.rest_unless(before > self.batch.len() || received > 0);
        }
        run.drain(|| {
            self.submit(&args.device)?;
            let is_sent = self.batch.is_empty() && port.is_output_over(&mut *self.tx);
            Ok(if is_sent { Drained::All } else { Drained::Frames(port.control.stats().tx_packets) })
        })
    }

    /// Puts up to `wanted` new frames into the batch: fewer where it is full or no buffer is free.
    fn make(&mut self, wanted: u64) {
        for _ in 0..wanted.min(self.batch.room() as u64) {
            let number = self.next.to_be_bytes();
            let payload = MIN_BYTES - number.len();
            self.template[payload..MIN_BYTES].copy_from_slice(&number);
            let Ok(frame) = self.pool.frame_from(&self.template) else { return };
            if self.batch.push(frame).is_ok() {
                self.next += 1;
            }
        }
    }

    fn submit(&mut self, device: &str) -> Result<(), Error> {
        let mut drops = TxDrops::new();
        self.tx.submit_or_drop(&mut self.batch, &mut drops).map_err(|fault| Error::Queue { device: device.into(), fault })?;
        // All are alike: what is wrong with one is wrong with what was asked for.
        drops.by_cause().next().map_or(Ok(()), |(why, _)| Err(SpecError::new(device, why.to_string()).into()))
    }
}

/// A frame of `len` bytes (at least [`MIN_BYTES`]): Ethernet, IPv4, UDP to the discard port, a number of 8 bytes, zeros.
/// The addresses are those that RFC 2544 sets apart for benchmarks.
fn template(len: usize, from: MacAddr, to: MacAddr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(len);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend([0x08, 0x00]);
    let ip_bytes = (len - HEADER_BYTES) as u16;
    frame.extend([0x45, 0]);
    frame.extend(ip_bytes.to_be_bytes());
    // Identification 0, don't fragment, time to live 64, UDP, checksum below.
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend([198, 18, 0, 1]);
    frame.extend([198, 19, 0, 1]);
    let header = &mut frame[HEADER_BYTES..];
    let sum: u32 = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    // RFC 1071: the one's complement of the one's complement sum.
    let folded = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(((folded & 0xffff) + (folded >> 16)) as u16)).to_be_bytes());
    // Ports 9 (discard); no UDP checksum, which IPv4 allows.
    frame.extend([0, 9, 0, 9]);
    frame.extend((ip_bytes - 20).to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(len, 0);
    frame
}
