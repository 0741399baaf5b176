//! A virtual function's three vectors: queues' mask themselves and wake who armed them, and the mailbox's tells of the link and of its physical function.

use crate::function::{ALL, MAC, Started, Vf, X540, frame_to};
use driver_core::device::{Config, Moderation, NetDevice, RxConfig};
use driver_core::queue::{RxQueue, TxQueue};
use driver_core::testing::received;
use sim::Mishap;

fn fired(rx: &mut impl RxQueue) -> u64 {
    rx.interrupt().unwrap().wait(Some(0)).unwrap()
}

fn told(started: &mut Started) -> u64 {
    started.control.link_interrupt().unwrap().wait(Some(0)).unwrap()
}

#[test]
fn an_armed_queue_fires_once_until_it_is_armed_again() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new().interrupts(true).moderation(Moderation::Fixed { us: 0 }));
        assert!(started.tx[0].interrupt().is_some(), "three vectors are enough for a pair and the mailbox");
        let rx = &mut started.rx[0];
        vf.send(&frame_to(MAC, 60, 0));
        vf.run_us(50);
        assert_eq!(fired(rx), 0, "not armed yet");
        assert!(rx.arm(), "a frame is waiting");
        vf.run_us(50);
        assert_eq!((fired(rx), received(rx).len()), (1, 1));
        assert!(!rx.arm());
        for k in 1..3 {
            vf.send(&frame_to(MAC, 60, k));
            vf.run_us(50);
        }
        assert_eq!((fired(rx), received(rx).len()), (1, 2), "it masked itself");
    }
}

#[test]
fn the_mailbox_tells_of_the_link_and_of_a_reset() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new().interrupts(true));
        started.control.watch();
        told(&mut started);
        for on in [false, true] {
            vf.device.set_carrier(on);
            vf.run_us(50_000);
            assert!(told(&mut started) > 0);
            started.control.watch();
            assert_eq!(started.control.link().up, on);
        }
        told(&mut started);
        vf.suffer(Mishap::PfReset);
        vf.run_us(100);
        assert!(told(&mut started) > 0);
        assert!(!started.control.watch().is_running());
    }
}

#[test]
fn two_queues_and_the_mailbox_have_a_vector_each_and_three_queues_share() {
    let vf = Vf::of(X540);
    let mut started = vf.start(&Config::new().rx(RxConfig::new().queues(2)).interrupts(true));
    assert!(started.rx.iter_mut().all(|rx| rx.interrupt().is_some()) && started.control.link_interrupt().is_some());
    assert!(started.tx[0].interrupt().is_none());
    vf.exchange(&mut started, 5);
    drop(started);
    let vf = Vf::of(crate::function::X550);
    let mut started = vf.start(&Config::new().rx(RxConfig::new().queues(3)).interrupts(true));
    assert!(started.rx.iter_mut().all(|rx| rx.interrupt().is_some()) && started.control.link_interrupt().is_none());
    vf.exchange(&mut started, 5);
}
