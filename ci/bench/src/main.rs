//! What a driver itself costs a frame, measured behind a stub card.
//!
//! The stub fills receive descriptors and completes the transmit ring in the same thread; what counts is the driver's part between: poll, swap the MAC
//! addresses, submit. `ci/bench/run` counts its instructions under callgrind; `bench cycles` times it with the processor's time-stamp counter.

mod cycles;
mod driver;
mod host;
mod ixgbe_stub;
mod lap;
mod virtio_stub;

use clap::{Parser, Subcommand};

use crate::driver::Driver;

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
        /// Which driver.
        #[arg(long, value_enum, default_value_t = Driver::Ixgbe)]
        driver: Driver,
        /// Frames in one lap.
        #[arg(long, default_value_t = 32)]
        batch: usize,
        /// Descriptors in each ring.
        #[arg(long, default_value_t = 512)]
        ring: u32,
        /// How many laps.
        #[arg(long, default_value_t = 2000)]
        laps: u32,
    },
    /// Times laps: the median of quiet repetitions of several processes, for each size of batch and ring.
    Cycles {
        /// Which driver.
        #[arg(long, value_enum, default_value_t = Driver::Ixgbe)]
        driver: Driver,
        /// Processes for each figure.
        #[arg(long, default_value_t = 5)]
        processes: u32,
    },
    /// One process of `cycles`: prints the cycles a frame of each quiet repetition.
    #[command(hide = true)]
    CyclesOnce { driver: Driver, batch: usize, ring: u32 },
}

fn main() {
    match Args::parse().command {
        Command::Laps { driver, batch, ring, laps } => {
            let mut lap = driver.lap(ring, batch);
            for _ in 0..laps {
                lap.fill(batch);
                lap.driver_part(batch);
                lap.complete(batch);
            }
            let frames = u64::from(laps) * batch as u64;
            println!("frames={frames} tail_writes_per_frame={:.3}", lap.doorbells() as f64 / frames as f64);
        }
        Command::Cycles { driver, processes } => cycles::table(driver, processes),
        Command::CyclesOnce { driver, batch, ring } => cycles::one_process(&mut driver.lap(ring, batch), batch),
    }
}
