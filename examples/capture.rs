//! Records what a device receives.

mod common;

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use barewire::sim::wire::WireError;
use barewire::{Batch, Config, Error, Frame, Port, RxMode, RxQueue};
use clap::Parser;
use common::{Run, finish, longest_mtu};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::{DataLink, Endianness, PcapError};

/// Writes every frame that a device receives to a capture file, until the count is reached, the input is over, or Ctrl-C.
///
/// Exit status 1: the card dropped frames, or the device or the file failed; 2: wrong usage.
#[derive(Parser)]
struct Args {
    /// The device: 0000:01:00.0, vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options
    device: String,
    /// The capture file, in pcapng format
    #[arg(long, value_name = "FILE.pcapng")]
    write: PathBuf,
    /// How many frames; without it until the input is over
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The longest payload of a frame; without it up to 9710, as the device takes it
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
}

/// Frames received at once, at most.
const BATCH: usize = 64;
/// Timestamps in units of 10 to the minus this (`if_tsresol`).
const NANOSECONDS: u8 = 9;

fn main() -> ExitCode {
    common::main(run)
}

fn run(args: &Args) -> Result<bool, Error> {
    let device = barewire::open(&args.device)?;
    let mut recording = Recording::create(&args.write)?;
    let mtu = args.mtu.unwrap_or_else(|| longest_mtu(&[&device]));
    let rx_mode = RxMode { promiscuous: true, all_multicast: true };
    let mut port = device.start(&Config { mtu, rx_mode, ..Config::default() })?;
    let Some((mut rx, tx)) = port.take_queues() else { unreachable!("a started port has queues") };

    let mut run = Run::new(None);
    run.wait_for_links(&mut [&mut port]);
    let captured = capture(args, &mut run, &mut port, &mut *rx, &mut recording);
    // Before the queue goes: what comes afterwards is not missed here.
    let (seconds, missed) = (run.seconds(), port.control.stats().rx_missed_errors);
    drop((rx, tx));
    let closed = recording.close();
    let written = closed.as_ref().ok().copied();
    let (_, ended) = finish([port], captured.and(closed.map(drop)));
    match written {
        Some(written) => println!("captured={written} missed={missed} mpps={:.3}", written as f64 / seconds / 1e6),
        None => println!("missed={missed}"),
    }
    ended.map(|()| missed == 0)
}

fn capture(args: &Args, run: &mut Run, port: &mut Port, rx: &mut dyn RxQueue, recording: &mut Recording) -> Result<(), Error> {
    let (mut batch, mut idle) = (Batch::new(BATCH), false);
    let count = args.count.unwrap_or(u64::MAX);
    while recording.written < count && run.goes_on(&mut [port]) {
        // Asked before the poll: only then does its finding nothing mean that nothing comes any more.
        let is_over = idle && port.is_input_over();
        let wanted = usize::try_from(count - recording.written).unwrap_or(usize::MAX);
        idle = rx.poll(&mut batch, wanted) == 0;
        while let Some(frame) = batch.pop() {
            recording.write(&frame)?;
            batch.recycle(frame);
        }
        if let Some(fault) = rx.fault() {
            return Err(Error::Queue { device: args.device.clone(), fault });
        }
        if is_over && idle {
            break;
        }
        run.rest_unless(!idle);
    }
    Ok(())
}

/// A capture file being written.
struct Recording {
    file: PathBuf,
    writer: PcapNgWriter<BufWriter<File>>,
    bytes: Vec<u8>,
    written: u64,
}

impl Recording {
    fn create(file: &std::path::Path) -> Result<Self, Error> {
        let opened = File::create(file).map_err(|error| failed(file, "make the capture file", &error.to_string()))?;
        let options = vec![InterfaceDescriptionOption::IfTsResol(NANOSECONDS)];
        let interface = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
        let writer = PcapNgWriter::with_endianness(BufWriter::new(opened), Endianness::native())
            .and_then(|mut writer| writer.write_pcapng_block(interface).map(|_| writer));
        let writer = writer.map_err(|error| failed(file, "write the capture file", &error.to_string()))?;
        Ok(Self { file: file.into(), writer, bytes: Vec::new(), written: 0 })
    }

    fn write(&mut self, frame: &Frame) -> Result<(), Error> {
        self.bytes.clear();
        frame.segments().for_each(|segment| self.bytes.extend_from_slice(segment));
        let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let original_len = self.bytes.len() as u32;
        let block = EnhancedPacketBlock { interface_id: 0, timestamp, original_len, data: Cow::Borrowed(&self.bytes), options: Vec::new() };
        let wrote: Result<usize, PcapError> = self.writer.write_pcapng_block(block);
        wrote.map_err(|error| failed(&self.file, "write the capture file", &error.to_string()))?;
        self.written += 1;
        Ok(())
    }

    /// Writes out what is buffered. Returns how many frames are in the file.
    fn close(self) -> Result<u64, Error> {
        let flushed = self.writer.into_inner().flush();
        flushed.map_err(|error| failed(&self.file, "write the capture file", &error.to_string()))?;
        Ok(self.written)
    }
}

fn failed(file: &std::path::Path, action: &'static str, cause: &str) -> Error {
    let on = file.display().to_string();
    Error::Wire { device: "capture".into(), error: WireError::System { action, on, cause: cause.into(), remedy: String::new() } }
}
