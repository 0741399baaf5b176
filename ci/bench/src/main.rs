//! What a driver itself costs a frame, measured behind a stub card.
//!
//! The stub fills receive descriptors and completes the transmit ring in the same thread; what counts is the driver's part between: poll, swap the MAC
//! addresses, submit. `ci/bench/run` counts its instructions under callgrind; `bench cycles` times it with the processor's time-stamp counter.

#[path = "../../../examples/pipeline/circle.rs"]
#[allow(dead_code, reason = "the example asks how its neighbours are, too")]
mod circle;
mod cycles;
mod hook;
mod host;
mod ixgbe_stub;
mod lap;
mod setup;
mod swap;
mod virtio_stub;
mod workload;

use clap::{Parser, Subcommand};

use crate::workload::Row;

/// The drivers' own cost a frame, behind a stub card in plain memory.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs laps and prints nothing but what they did: the work that callgrind counts.
    Laps {
        #[command(flatten)]
        row: Row,
        /// How many laps.
        #[arg(long, default_value_t = 2000)]
        laps: u32,
    },
    /// Times laps: the median of quiet repetitions of several processes.
    Cycles {
        #[command(flatten)]
        row: Row,
        /// Processes for each figure.
        #[arg(long, default_value_t = 5)]
        processes: u32,
    },
    /// One process of `cycles`: prints the cycles a frame of each quiet repetition.
    #[command(hide = true)]
    CyclesOnce {
        #[command(flatten)]
        row: Row,
    },
}

fn main() {
    match Args::parse().command {
        Command::Laps { row, laps } => {
            let mut lap = setup::lap(row);
            for _ in 0..laps {
                lap.fill();
                lap.driver_part();
                lap.complete();
            }
            let frames = u64::from(laps) * lap.frames() as u64;
            println!("frames={frames} tail_writes_per_frame={:.3}", lap.doorbells() as f64 / frames as f64);
        }
        Command::Cycles { processes, .. } => cycles::figure(processes),
        Command::CyclesOnce { row } => cycles::one_process(&mut setup::lap(row)),
    }
}
