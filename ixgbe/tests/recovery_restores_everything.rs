//! Behind a recovery every register that sets the card up holds what it held before, whoever had it written: the configuration, or a setter since.

use std::ops::Range;

use crate::common::{I82599, MAC, X540, X550, frame, received};
use crate::rescue::{Ward, config};
use driver_core::device::{FlowControl, Moderation, NetDevice, RssConfig, Rule, RxMode};
use driver_core::ether::MacAddr;
use driver_core::host::RegSpace;
use driver_core::offload::RssTypes;
use driver_core::queue::RxQueue;
use sim::Mishap;

/// What sets a card up, by offsets typed from the datasheet: ranges of registers of 32 bits. Heads, tails, counters and causes are not among them.
const SETTINGS: [(&str, Range<u32>); 36] = [
    ("CTRL_EXT", 0x18..0x1c),
    ("EXVET", 0x5078..0x507c),
    ("EIAC", 0x810..0x814),
    ("EITR", 0x820..0x880),
    ("GPIE", 0x898..0x89c),
    ("IVAR", 0x900..0xa04),
    ("EIAM", 0xad0..0xad8),
    ("RDRXCTL", 0x2f00..0x2f04),
    ("RXCTRL", 0x3000..0x3004),
    ("FCTTV", 0x3200..0x3210),
    ("FCRTL, FCRTH", 0x3220..0x32a4),
    ("RXPBSIZE", 0x3c00..0x3c20),
    ("FCCFG", 0x3d00..0x3d04),
    ("HLREG0", 0x4240..0x4244),
    ("MAXFRS", 0x4268..0x426c),
    ("MFLCN", 0x4294..0x4298),
    ("RTTDCS", 0x4900..0x4904),
    ("TXPBTHRESH", 0x4950..0x4970),
    ("DMATXCTL", 0x4a80..0x4a84),
    ("RXCSUM, RFCTL", 0x5000..0x500c),
    ("FCTRL, VLNCTRL, MCSTCTRL", 0x5080..0x5094),
    ("VMD_CTL, ETQF", 0x5100..0x5148),
    ("MTA", 0x5200..0x5400),
    ("PFVTCTL", 0x51b0..0x51b4),
    ("DTXMXSZRQ", 0x8100..0x8104),
    ("TQSM", 0x8600..0x8680),
    ("VFTA", 0xa000..0xa200),
    ("RAL, RAH", 0xa200..0xa600),
    ("MPSAR", 0xa600..0xaa00),
    ("TXPBSIZE", 0xcc00..0xcc20),
    ("FTQF and addresses", 0xe000..0xe800),
    ("RETA, RSSRK", 0xeb00..0xeba8),
    ("PSRTYPE", 0xea00..0xea04),
    ("MRQC, ETQS, SYNQF", 0xec00..0xec84),
    ("ERETA", 0xee80..0xf000),
    ("PIENA", 0x1_10b8..0x1_10bc),
];
/// Of each queue, beginning at 0x1000 or 0x6000: base and length of the ring, SRRCTL and DCA control, what turns it on, and RSCCTL.
const OF_A_QUEUE: [u32; 7] = [0x00, 0x04, 0x08, 0x0c, 0x14, 0x28, 0x2c];

fn registers(ward: &Ward, queues: u32) -> Vec<(String, u32)> {
    let bar = ward.card.registers();
    let words = |name: &'static str, range: Range<u32>| range.step_by(4).map(move |offset| (format!("{name} at {offset:#x}"), offset));
    let all = SETTINGS.into_iter().flat_map(|(name, range)| words(name, range));
    let of_queues = (0..queues).flat_map(|queue| [0x1000 + 0x40 * queue, 0x6000 + 0x40 * queue]).flat_map(|first| {
        OF_A_QUEUE
            .iter()
            .filter(move |&&at| first < 0x6000 || !matches!(at, 0x14 | 0x2c))
            .map(move |at| (format!("queue register {:#x}", first + at), first + at))
    });
    all.chain(of_queues).map(|(name, offset)| (name, bar.read32(offset))).collect()
}

const OTHER: MacAddr = MacAddr([0x02, 0xaa, 0, 0, 0, 0x01]);
const FURTHER: [MacAddr; 3] = [MacAddr([0x02, 0xbb, 0, 0, 0, 1]), MacAddr([0x02, 0xbb, 0, 0, 0, 2]), MacAddr([0x02, 0xbb, 0, 0, 0, 3])];
const GROUP: MacAddr = MacAddr([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]);

/// A card with everything set otherwise than it starts.
fn set_otherwise(device: u16) -> Ward {
    let config = config().mtu(9000).rx_queues(4).tx_queues(4).rx_ring(256).tx_ring(128).interrupts(true);
    let mut ward = Ward::of(device, &config);
    let control = &mut ward.port.control;
    control.set_mac(OTHER).unwrap();
    control.set_unicast_filters(&FURTHER).unwrap();
    control.set_multicast_filters(&[GROUP]).unwrap();
    control.set_rx_mode(RxMode::empty()).unwrap();
    control.set_rss(&RssConfig::new().key([0x5a; 40]).table(&[3, 1, 2, 0]).types(RssTypes::IPV4 | RssTypes::TCP_IPV6)).unwrap();
    control.set_moderation(Moderation::Fixed { us: 40 }).unwrap();
    control.set_flow_control(FlowControl::all()).unwrap();
    control.set_vlan_filter(Some(&[7, 4000])).unwrap();
    control.add_rule(&Rule::to_queue(2).ethertype(0x88f7)).unwrap();
    // A receive queue's interval is written when it is armed.
    ward.port.rx.iter_mut().for_each(|rx| assert!(!rx.arm()));
    ward
}

#[test]
fn every_register_is_as_it_was() {
    for device in [I82599, X540, X550] {
        let mut ward = set_otherwise(device);
        let settings = ward.port.control.settings().clone();
        let before = registers(&ward, 4);
        for mishap in [Mishap::Hang, Mishap::MemoryError] {
            ward.suffer(mishap);
            ward.submit(10);
            ward.until_recovered();
            ward.turn();
            for (before, behind) in before.iter().zip(&registers(&ward, 4)) {
                assert_eq!(before, behind, "{device:04x} behind {mishap:?}");
            }
            assert_eq!(*ward.port.control.settings(), settings);
        }
        ward.ends();
    }
}

/// The manners of a ring: without interrupts, whose vector large receives need all the same.
#[test]
fn large_receives_and_split_headers_are_as_they_were() {
    for device in [I82599, X540, X550] {
        for config in [config().rx_coalescing(true), config().header_split(true)] {
            // Who reads the registers forbids DMA: those of a card that was not reset are another's.
            let other = Ward::of(device, &config);
            let before = registers(&other, 1);
            other.ends();
            let mut ward = Ward::of(device, &config);
            ward.suffer(Mishap::Hang);
            ward.submit(10);
            ward.until_recovered();
            ward.wait_for_link();
            for k in 0..100 {
                ward.card.send(&frame(MAC, 100, k));
                assert_eq!(received(&mut ward.port.rx[0]), [frame(MAC, 100, k)], "every descriptor has its buffers again");
            }
            assert_eq!(before, registers(&ward, 1), "{device:04x}");
            ward.ends();
        }
    }
}

#[test]
fn what_came_in_comes_in_and_nothing_else() {
    for device in [I82599, X540, X550] {
        let mut ward = set_otherwise(device);
        ward.suffer(Mishap::Hang);
        ward.submit(10);
        ward.until_recovered();
        ward.wait_for_link();
        let mut comes = |to: MacAddr| {
            ward.card.send(&frame(to, 64, 0));
            ward.port.rx.iter_mut().map(|rx| received(rx).len()).sum::<usize>() == 1
        };
        for to in [OTHER, FURTHER[0], FURTHER[2], GROUP] {
            assert!(comes(to), "{device:04x}: {to}");
        }
        for to in [MAC, MacAddr([0x02, 0xcc, 0, 0, 0, 1]), MacAddr([0x01, 0, 0x5e, 7, 7, 7])] {
            assert!(!comes(to), "{device:04x}: {to}");
        }
        // A frame of the MTU in several buffers, both ways.
        ward.card.send(&frame(OTHER, 9014, 1));
        ward.card.run_us(100);
        assert_eq!(ward.port.rx.iter_mut().map(|rx| received(rx).len()).sum::<usize>(), 1);
        ward.ends();
    }
}

#[test]
fn an_outer_tag_is_looked_behind_again() {
    for device in [I82599, X540, X550] {
        let config = config().double_vlan(0x88a8).rx_vlan_strip(true);
        // Another, as above.
        let other = Ward::of(device, &config);
        let before = registers(&other, 1);
        other.ends();
        let mut ward = Ward::of(device, &config);
        ward.suffer(Mishap::Hang);
        ward.submit(10);
        ward.until_recovered();
        ward.wait_for_link();
        let plain = frame(MAC, 100, 1);
        let tagged = |tags: &[u8]| [&plain[..12], tags, &plain[12..]].concat();
        ward.card.send(&tagged(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 7]));
        assert_eq!(received(&mut ward.port.rx[0]), [tagged(&[0x88, 0xa8, 0, 5])], "{device:04x}");
        assert_eq!(before, registers(&ward, 1), "{device:04x}");
        ward.ends();
    }
}

/// What is set in the middle of a recovery is refused by name, and is no setting.
#[test]
fn a_setter_in_between_is_told_so() {
    let mut ward = Ward::new(&config());
    ward.suffer(Mishap::Hang);
    ward.submit(10);
    ward.card.faults(|faults| faults.no_dma_init = true);
    while ward.port.control.state().is_running() {
        ward.turn();
    }
    let text = ward.port.control.set_mac(OTHER).unwrap_err().to_string();
    assert!(
        text.contains("setting its address: the device is being reset and set up as it was") && text.ends_with("transmit queue 0 hung"),
        "{text}"
    );
    ward.card.faults(|faults| faults.no_dma_init = false);
    ward.until_recovered();
    assert_eq!(ward.port.control.mac(), MAC);
    ward.port.control.set_mac(OTHER).unwrap();
    ward.ends();
}
