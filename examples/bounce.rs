//! Sends every frame back with its MAC addresses swapped, from the buffer that the card put it into.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use barewire::{Batch, Config, Error, Frame, FrameView, Hook, HookCounters, Host, PollWith, RxMode, TxDrops, Verdict, WhenFull};
use clap::Parser;
use common::{Drained, Run, finish, longest_mtu, say};

/// Sends back every frame that arrives, with its MAC addresses swapped, until the input is over, Ctrl-C, or the end of its time.
///
/// Exit status 1: frames were lost for want of descriptors or buffers, a device failed, or what it prints could not be written; 2: wrong usage.
#[derive(Parser)]
struct Args {
    /// The device: 0000:01:00.0, vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options
    #[arg(value_name = "SPEC")]
    device: String,
    /// How long it runs; else until the input is over
    #[arg(long, value_name = "N", value_parser = common::seconds)]
    seconds: Option<Duration>,
    /// Frames received at once, at most
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
}

fn main() -> ExitCode {
    common::main(run)
}

/// Swaps the addresses, and sends what has some.
struct Bounce;

impl Bounce {
    fn swap(frame: &mut [u8]) -> Verdict {
        let Some(head) = frame.first_chunk_mut::<12>() else { return Verdict::Drop };
        let (destination, source) = head.split_at_mut(6);
        destination.swap_with_slice(source);
        Verdict::Tx
    }
}

impl Hook for Bounce {
    fn verdict(&mut self, frame: &mut FrameView<'_>) -> Verdict {
        Self::swap(frame.data_mut())
    }

    /// Of a frame in several buffers the first has the addresses.
    fn verdict_whole(&mut self, frame: &mut Frame) -> Verdict {
        Self::swap(frame.data_mut())
    }
}

fn run(args: &Args) -> Result<bool, Error> {
    let device = Host::new().open(&args.device)?;
    let mtu = longest_mtu(&[&device]);
    let mut port = device.start(&Config::new().mtu(mtu).rx_mode(RxMode::all()))?;
    let mut run = Run::new(args.seconds);
    run.wait_for_links(&mut [&mut port]);
    let Some((mut rx, mut tx)) = port.take_queues() else { unreachable!("a started port has queues") };
    let mut batch = Batch::new(args.batch.into());
    let (mut idle, mut outcome) = (false, Ok(()));
    let (mut refused, mut late) = (TxDrops::default(), 0);
    while run.goes_on(&mut [&mut port]) {
        // Asked before the poll: only then does its finding nothing mean that nothing comes any more.
        let is_over = idle && port.is_input_over();
        let mut judged = 0;
        if batch.is_empty() {
            judged = rx.poll_with(&mut Bounce, &mut [&mut *tx], WhenFull::HandUp, &mut batch, args.batch.into());
        }
        // Those that found the queue full go before any other.
        let waiting = batch.len();
        let sent = if waiting > 0 { tx.submit_or_drop(&mut batch, &mut refused) } else { Ok(0) };
        late += *sent.as_ref().unwrap_or(&0) as u64;
        idle = judged == 0 && waiting == 0;
        if let Some(fault) = sent.err().or(rx.fault().filter(|_| idle)) {
            outcome = Err(Error::Queue { device: port.name().to_owned(), fault });
            break;
        }
        if is_over && idle {
            break;
        }
        run.rest_unless(!idle);
    }
    if outcome.is_ok() {
        let sent = rx.counters().hook.sent;
        outcome = run.drain(|| Ok(if port.is_output_over(&mut *tx) { Drained::All } else { Drained::Frames(sent) }));
    }
    let totals = [port.control.stats()];
    let ended = finish([port], &totals, outcome);
    let HookCounters { sent, dropped, full, no_buffer, .. } = rx.counters().hook;
    let (sent, lost) = (sent + late, full.saturating_sub(late) + no_buffer);
    say(format_args!("bounced={sent} dropped={dropped} lost={lost}"));
    ended.map(|()| lost == 0)
}
