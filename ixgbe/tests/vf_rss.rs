//! Flows of a virtual function are spread over its queues: by its physical function's key and table, or by the X550's own.

use crate::function::{I82599, MAC, Vf, X540, X550, frame_to};
use driver_core::device::{Config, NetDevice, RssConfig, RxConfig};
use driver_core::offload::RssTypes;
use driver_core::queue::RxQueue;
use driver_core::testing::received;
use sim::ixgbe::PfOptions;

/// A TCP segment from port `flow`.
fn tcp(flow: u16) -> Vec<u8> {
    let mut bytes = frame_to(MAC, 14, 0);
    bytes[12..14].copy_from_slice(&[0x08, 0x00]);
    bytes.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend(flow.to_be_bytes());
    bytes.extend([0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    bytes.extend([0; 8]);
    bytes
}

/// The port that a frame is from.
fn flow_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[34], frame[35]])
}

fn config(queues: u16) -> Config {
    Config::new().rx(RxConfig::new().queues(queues)).tx_queues(1)
}

/// Where 64 flows come to, by queue.
fn spread(vf: &Vf, started: &mut crate::function::Started) -> Vec<Vec<u16>> {
    (0..64).for_each(|flow| vf.send(&tcp(flow)));
    vf.run_us(500);
    started.rx.iter_mut().map(|rx| received(rx).iter().map(|frame| flow_of(frame)).collect()).collect()
}

#[test]
fn each_queue_has_the_flows_that_the_told_table_gives_it() {
    for device in [I82599, X540, X550] {
        for queues in [2, 4] {
            let vf = Vf::of(device);
            let mut started = vf.start(&config(queues));
            let rss = started.control.settings().rss().clone();
            let wanted: Vec<Vec<u16>> = (0..queues)
                .map(|queue| {
                    (0..64).filter(|&flow| rss.queue_of(driver_core::offload::toeplitz(rss.key_bytes(), &tcp(flow)[26..38])) == Some(queue)).collect()
                })
                .collect();
            assert!(wanted.iter().all(|flows| flows.len() > 4), "{wanted:?}");
            assert_eq!(spread(&vf, &mut started), wanted, "{device:#x}, {queues} queues");
        }
    }
}

#[test]
fn with_one_queue_all_come_there() {
    for device in [I82599, X540, X550] {
        let vf = Vf::of(device);
        let mut started = vf.start(&config(1));
        assert_eq!(spread(&vf, &mut started), [(0..64).collect::<Vec<_>>()]);
    }
}

#[test]
fn an_x550_spreads_as_it_is_told_while_it_runs_and_others_say_whose_table_it_is() {
    let vf = Vf::of(X550);
    let mut started = vf.start(&config(3));
    assert!(spread(&vf, &mut started).iter().all(|flows| !flows.is_empty()), "three queues are as good as four");
    started.control.set_rss(&RssConfig::new().table(&[2])).unwrap();
    assert_eq!(spread(&vf, &mut started)[2].len(), 64);
    started.control.set_rss(&RssConfig::new().types(RssTypes::UDP_IPV4)).unwrap();
    assert_eq!(spread(&vf, &mut started)[0].len(), 64, "TCP is not hashed");
    let vf = Vf::of(I82599);
    let mut started = vf.start(&config(2));
    let error = started.control.set_rss(&RssConfig::new().table(&[1])).unwrap_err().to_string();
    assert!(error.contains("another key or table of RSS: those of an 82599 or X540 are its physical function's"), "{error}");
}

#[test]
fn three_queues_of_an_82599_are_refused() {
    let error = Vf::of(I82599).open().unwrap().start(&config(3)).unwrap_err().to_string();
    assert!(error.contains("3 receive queues: its physical function spreads frames over 1, 2 or 4"), "{error}");
}

/// A physical function may keep its key to itself: frames are spread all the same.
#[test]
fn a_key_that_is_not_told_spreads_too() {
    let vf = Vf::with(X540, |pf: &mut PfOptions| pf.tells_rss = false);
    let mut started = vf.start(&config(2));
    let queues = spread(&vf, &mut started);
    assert!(queues.iter().all(|flows| flows.len() > 4), "{queues:?}");
    assert!(started.rx[1].counters().packets > 4);
}
