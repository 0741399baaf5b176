//! Cycles a frame, with a filter for quiet moments: machines are shared, and a core runs at half its speed for spells.

use std::process::Command;

use crate::lap::Lap;

/// Laps in one repetition: short enough to fall between two disturbances.
const LAPS: u32 = 200;
const REPETITIONS: u32 = 400;
/// A repetition counts if the calibration loop right before and after it took at most this much longer than its best.
const TOLERANCE: f64 = 1.02;

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn now() -> u64 {
    // SAFETY: both instructions are part of every x86-64 processor that Linux runs on.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn now() -> u64 {
    use std::time::Instant;
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// A loop of dependent multiplications: its time says at what speed the core runs.
#[inline(never)]
fn calibrate() -> u64 {
    let start = now();
    let mut x = std::hint::black_box(3u64);
    for _ in 0..2000 {
        x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1;
    }
    std::hint::black_box(x);
    now() - start
}

/// Prints the cycles a frame of every quiet repetition, one a line.
pub(crate) fn one_process(lap: &mut Box<dyn Lap>) {
    let fence = (0..1000)
        .map(|_| {
            let start = now();
            now() - start
        })
        .min()
        .unwrap_or(0);
    let mut best = (0..1000).map(|_| calibrate()).min().unwrap_or(u64::MAX);
    let mut kept = Vec::new();
    for _ in 0..REPETITIONS {
        let before = calibrate();
        let mut cycles = 0;
        for _ in 0..LAPS {
            lap.fill();
            let start = now();
            lap.driver_part();
            cycles += (now() - start).saturating_sub(fence);
            lap.complete();
        }
        let after = calibrate();
        best = best.min(before).min(after);
        kept.push((before.max(after), cycles));
    }
    let quiet = kept.iter().filter(|&&(worst, _)| worst as f64 <= best as f64 * TOLERANCE);
    for (_, cycles) in quiet {
        println!("{:.3}", *cycles as f64 / f64::from(LAPS) / lap.frames() as f64);
    }
}

/// Prints the median of all quiet repetitions of `processes` processes, which are started with this one's own arguments.
pub(crate) fn figure(processes: u32) {
    let program = std::env::current_exe().expect("the path of this program");
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    let mut all: Vec<f64> = Vec::new();
    for _ in 0..processes {
        let output = Command::new(&program).arg("cycles-once").args(&arguments).output().expect("this program starts again");
        all.extend(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse::<f64>().ok()));
    }
    all.sort_by(f64::total_cmp);
    match all.get(all.len() / 2) {
        Some(cycles) => println!("{cycles:.1}"),
        None => println!("no repetition was quiet: run it again when the machine is idle"),
    }
}
