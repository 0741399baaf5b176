//! Records what a device receives.

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use barewire::sim::wire::pcap::{Format, Output};
use barewire::{Batch, Config, Error, Port, RxMode, RxQueue, SpecError, Stats};
use clap::Parser;
use common::{Run, finish, longest_mtu, say};

/// Writes every frame that a device receives to a capture file, until the count is reached, the input is over, or Ctrl-C.
///
/// Exit status 1: frames were lost (missed for want of descriptors, received with errors, or longer than the MTU), or the device or the file failed;
/// 2: wrong usage.
#[derive(Parser)]
struct Args {
    /// The device: 0000:01:00.0, vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options
    device: String,
    /// The capture file: in the format of its name, pcapng where that has no ending; - is standard output, and the report goes to standard error
    #[arg(long, value_name = "FILE.pcapng|FILE.pcap")]
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

fn main() -> ExitCode {
    common::main(run)
}

fn run(args: &Args) -> Result<bool, Error> {
    // Pipes and devices have names without an ending.
    let named = args.write.extension().map(|_| Format::by_name(&args.write));
    let format = named.unwrap_or(Ok(Format::PcapNg)).map_err(|error| SpecError::new("--write", error.to_string()))?;
    if args.write.as_os_str() == "-" {
        common::print::report_on_stderr();
    }
    let device = barewire::open(&args.device)?;
    let output = Output::create(&args.write, format).map_err(|error| Error::Wire { device: "--write".into(), error })?;
    let mtu = args.mtu.unwrap_or_else(|| longest_mtu(&[&device]));
    let mut port = device.start(&Config::new().mtu(mtu).rx_mode(RxMode::all()))?;
    let Some((rx, _tx)) = port.take_queues() else { unreachable!("a started port has queues") };

    let mut run = Run::new(None);
    run.wait_for_links(&mut [&mut port]);
    let mut recording = Recording { rx, batch: Batch::new(BATCH), whole: Vec::new(), output, device: args.device.clone() };
    let (captured, totals) = recording.capture(args.count.unwrap_or(u64::MAX), &mut run, &mut port);
    let seconds = run.seconds();
    let captured = captured.and_then(|()| recording.flush());
    let (written, lost) = (recording.output.whole(), totals.rx_missed_errors + common::given_up(&totals));
    let ended = finish([port], &[totals], captured);
    let told = totals.rx_missed().map_or("unknown".into(), |missed| missed.to_string());
    let given_up = common::given_up(&totals);
    say(format_args!("captured={written} missed={told} errors={given_up} mpps={:.3}", written as f64 / seconds / 1e6));
    ended.map(|()| lost == 0)
}

/// From a receive queue to a file.
struct Recording {
    rx: Box<dyn RxQueue>,
    batch: Batch,
    /// A frame of several buffers in one piece.
    whole: Vec<u8>,
    output: Output,
    /// The device's name.
    device: String,
}

impl Recording {
    /// Writes `count` frames, or what comes until the run or the input is over. Returns the port's counters of that moment, too.
    fn capture(&mut self, count: u64, run: &mut Run, port: &mut Port) -> (Result<(), Error>, Stats) {
        let mut idle = false;
        let mut outcome = Ok(());
        while outcome.is_ok() && self.output.written() < count && run.goes_on(&mut [port]) {
            // Asked before the poll: only then does its finding nothing mean that nothing comes any more.
            let is_over = idle && port.is_input_over();
            let received = self.turn(count);
            idle = matches!(received, Ok(0));
            outcome = received.map(drop);
            if is_over && idle {
                break;
            }
            run.rest_unless(!idle);
        }
        // What comes from here on is not this run's; what the rings hold is.
        let totals = port.control.stats();
        let count = count.min(totals.rx_packets);
        while outcome.is_ok() && self.output.written() < count {
            match self.turn(count) {
                Ok(0) => break,
                received => outcome = received.map(drop),
            }
        }
        (outcome, totals)
    }

    /// Writes what there is, up to `count` in all. Returns how many frames came.
    fn turn(&mut self, count: u64) -> Result<usize, Error> {
        let wanted = usize::try_from(count.saturating_sub(self.output.written())).unwrap_or(usize::MAX);
        let received = self.rx.poll(&mut self.batch, wanted);
        while let Some(frame) = self.batch.pop() {
            if frame.is_linear() {
                self.output.write(frame.data());
            } else {
                self.whole.clear();
                frame.segments().for_each(|segment| self.whole.extend_from_slice(segment));
                self.output.write(&self.whole);
            }
            self.batch.recycle(frame);
        }
        self.output.flush_when_due();
        match self.rx.fault() {
            Some(fault) => Err(Error::Queue { device: self.device.clone(), fault }),
            None => self.check().map(|()| received),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.output.flush();
        self.check()
    }

    /// What went wrong with the file.
    fn check(&self) -> Result<(), Error> {
        self.output.error().map_or(Ok(()), |error| Err(Error::Wire { device: "--write".into(), error: error.clone() }))
    }
}
