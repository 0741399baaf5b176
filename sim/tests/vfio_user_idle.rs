//! The processor time of an idle vfio-user server: alone in its process, which is what the clock counts.

#[path = "common/vfio_user.rs"]
mod client;

use std::time::Duration;

use client::*;
use rustix::time::{ClockId, clock_gettime};
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::wire::dgram::Dgram;

/// Milliseconds of processor time in half a second of the wall's.
fn busy_ms() -> i64 {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    };
    let before = now();
    std::thread::sleep(Duration::from_millis(500));
    now() - before
}

/// KVM signals the descriptor at each end of interrupt of a line that several devices share, whether or not this device's is masked.
#[test]
fn an_idle_card_sleeps_though_its_open_line_was_unmasked() {
    let [near, far] = ["near", "far"].map(|end| std::env::temp_dir().join(format!("barewire-idle-{}-{end}", std::process::id())));
    let served = Served::new("idle", Box::new(Ixgbe::new(IxgbeOptions::default())), Box::new(Dgram::open(&near, &far).unwrap()));
    let mut client = served.agreed();
    let (line, unmask) = (event(), event());
    client.set_irqs(0x24, 0, 0, 1, &[], &[&line]).good();
    client.set_irqs(0x14, 0, 0, 1, &[], &[&unmask]).good();
    // The card comes to rest.
    std::thread::sleep(Duration::from_millis(500));
    let before = busy_ms();
    rustix::io::write(&unmask, &1u64.to_ne_bytes()).unwrap();
    let after = busy_ms();
    assert!(after < 2 * before + 100, "{before} ms of 500, and {after} ms after the unmasking");
}
