//! What a virtual function counts, and what its driver makes of registers that nothing clears.

use crate::function::{ALL, MAC, Started, Vf, frame_to};
use driver_core::device::{Config, NetDevice};

fn of(started: &mut Started, name: &str) -> u64 {
    started.control.xstats().iter().find(|xstat| xstat.name == name).map(|xstat| xstat.value).unwrap()
}

#[test]
fn each_start_counts_from_nought_and_adds_up() {
    for device in ALL {
        let vf = Vf::of(device);
        for _ in 0..2 {
            let mut started = vf.start(&Config::new());
            vf.exchange(&mut started, 20);
            vf.send(&frame_to([0xff; 6], 60, 1));
            vf.send(&frame_to([3, 0, 0, 0, 0, 1], 60, 1));
            vf.run_us(100);
            let (sent, came): (u64, u64) = ((0..20).map(|k| 60 + 5 * k).sum(), (0..20).map(|k| 64 + 7 * k).sum());
            assert_eq!(of(&mut started, "tx_good_packets"), 20);
            assert_eq!(of(&mut started, "tx_good_octets"), sent + 4 * 20);
            assert_eq!((of(&mut started, "rx_good_packets"), of(&mut started, "rx_good_octets")), (21, came + 60 + 4 * 21));
            let stats = started.control.stats();
            assert_eq!((stats.tx_packets, stats.tx_bytes, stats.rx_packets, stats.rx_bytes), (20, sent, 20, came + 60));
            assert_eq!(driver_core::testing::received(&mut started.rx[0]).len(), 1);
        }
    }
}

#[test]
fn multicast_frames_are_counted() {
    let vf = Vf::of(ALL[0]);
    let mut started = vf.start(&Config::new().rx_mode(driver_core::device::RxMode::ALL_MULTICAST));
    for k in 0..7 {
        vf.send(&frame_to([1, 0, 0x5e, 0, 0, k], 60, 1));
    }
    vf.send(&frame_to(MAC, 60, 1));
    vf.run_us(100);
    assert_eq!(started.control.stats().multicast, 7);
    assert_eq!(of(&mut started, "rx_multicast_packets"), 7);
    vf.received(&mut started, 0);
}
