//! What a started and a stopped card's registers hold, by offsets typed from the datasheet once more.

use crate::common::{Card, I82599, MAC, X540, X550};
use driver_core::device::{Config, NetDevice};
use driver_core::ether::MacAddr;
use driver_core::host::RegSpace;

/// A second look at the card's registers.
fn registers(card: &Card) -> impl Fn(u32) -> u32 {
    let bar = card.registers();
    move |offset| bar.read32(offset)
}

#[test]
fn packet_buffers_and_flow_control_are_for_one_traffic_class() {
    for (device, rx_kb) in [(I82599, 512), (X540, 384)] {
        let card = Card::of(device);
        let started = card.start(&Config::new());
        let read = registers(&card);
        assert_eq!((read(0x3c00), read(0x3c04), read(0x3c1c)), (rx_kb << 10, 0, 0), "RXPBSIZE");
        assert_eq!((read(0xcc00), read(0xcc04), read(0xcc1c)), (160 << 10, 0, 0), "TXPBSIZE");
        assert_eq!((read(0x4950), read(0x4954)), (150, 0), "TXPBTHRESH");
        assert_eq!(read(0x3260), rx_kb * 1024 - 0x6000, "FCRTH 0, without FCEN");
        assert_eq!(read(0x3d00), 0, "FCCFG");
        assert_eq!(read(0x4294) & 0xf, 0b0010, "MFLCN: discard pause frames");
        drop(started);
    }
}

#[test]
fn queues_are_set_up_as_configured() {
    let card = Card::new();
    let started = card.start(&Config::new().rx_queues(2).tx_queues(2).rx_ring(1024).tx_ring(256));
    let read = registers(&card);
    for queue in 0..2 {
        let (rx, tx) = (0x1000 + 0x40 * queue, 0x6000 + 0x40 * queue);
        assert_eq!((read(rx + 0x08), read(rx + 0x10), read(rx + 0x18)), (1024 * 16, 0, 1023), "RDLEN, RDH, RDT");
        assert_eq!(read(rx + 0x14), 1 << 28 | 1 << 25 | 2, "SRRCTL: drop, advanced with one buffer of 2 KB");
        assert_eq!(read(rx + 0x0c) & 0xb000, 0, "DCA_RXCTRL: in order");
        assert_eq!(read(rx + 0x28) >> 25 & 1, 1, "RXDCTL.ENABLE");
        assert_eq!((read(tx + 0x08), read(tx + 0x10), read(tx + 0x18)), (256 * 16, 0, 0), "TDLEN, TDH, TDT");
        assert_eq!(read(tx + 0x28) & 0x03ff_ffff, 1 << 25 | 4 << 8 | 32, "TXDCTL: on, PTHRESH 32, HTHRESH 4, WTHRESH 0");
        assert_eq!(read(tx + 0x0c) & 1 << 11, 0, "DCA_TXCTRL: in order");
    }
    assert_eq!(read(0x1028 + 2 * 0x40) >> 25 & 1, 0, "no third queue");
    assert_eq!(read(0x2f00) & (0x1f << 17 | 0x0600_0002), 0x0600_0002, "RDRXCTL: strip, RSCACKC, FCOE_WRFIX, no RSCFRSTSIZE");
    assert_eq!(read(0x5000) >> 13 & 1, 1, "RXCSUM.PCSD");
    assert_eq!(read(0x8100) & 0xfff, 0xfff, "DTXMXSZRQ");
    assert_eq!(read(0x4900) & 0x40, 0, "RTTDCS.ARBDIS");
    drop(started);
}

#[test]
fn a_single_queue_does_not_drop() {
    let card = Card::new();
    let started = card.start(&Config::new());
    assert_eq!(registers(&card)(0x1014), 1 << 25 | 2, "SRRCTL");
    drop(started);
}

#[test]
fn frame_sizes_follow_the_mtu() {
    for (mtu, jumbo, mfs) in [(68, 0, 1518), (1500, 0, 1518), (1501, 1, 1519), (9710, 1, 9728)] {
        let card = Card::new();
        let started = card.start(&Config::new().mtu(mtu));
        let read = registers(&card);
        let hlreg0 = read(0x4240);
        assert_eq!((hlreg0 >> 2 & 1, read(0x4268) >> 16), (jumbo, mfs), "MTU {mtu}");
        assert_eq!(hlreg0 & 0x8403, 0x0403, "HLREG0: append and strip check sequences, pad, no loopback");
        drop(started);
    }
}

#[test]
fn a_receive_address_leads_to_pool_0_while_it_is_valid() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let read = registers(&card);
    assert_eq!((read(0xa200), read(0xa204)), (0x8200_0002, 0x8000_9059), "RAL 0, RAH 0: {MAC}");
    assert_eq!((read(0xa600), read(0xa604), read(0xa608)), (1, 0, 0), "MPSAR");
    started.control.set_unicast_filters(&[MacAddr([2, 1, 2, 3, 4, 5])]).unwrap();
    assert_eq!((read(0xa208), read(0xa20c), read(0xa608)), (0x0302_0102, 0x8000_0504, 1));
    started.control.set_unicast_filters(&[]).unwrap();
    assert_eq!((read(0xa208), read(0xa20c), read(0xa608)), (0, 0, 0));
}

#[test]
fn a_stopped_card_is_the_firmwares_again() {
    let card = Card::new();
    let mut started = card.start(&Config::new().interrupts(true));
    let read = registers(&card);
    assert_eq!(read(0x18) & 0x1001_0000, 0x1001_0000, "CTRL_EXT: DRV_LOAD, NS_DIS");
    assert_eq!((read(0x3000) & 1, read(0x4a80) & 1, read(0) & 4), (1, 1, 0), "RXCTRL.RXEN, DMATXCTL.TE, CTRL");
    assert_eq!(read(0x880), 1 << 28 | 1 << 20 | 1 << 18, "EIMS: the link and the card's own errors until a queue is armed");
    started.control.stop().unwrap();
    assert_eq!(read(0x18) & 0x1000_0000, 0, "CTRL_EXT.DRV_LOAD");
    assert_eq!((read(0x3000) & 1, read(0x4a80) & 1, read(0) & 4), (0, 0, 4), "RXCTRL.RXEN, DMATXCTL.TE, CTRL.PCIe Master Disable");
    assert_eq!((read(0x1028) >> 25 & 1, read(0x6028) >> 25 & 1), (0, 0), "RXDCTL, TXDCTL");
    assert_eq!(read(0x880), 0, "EIMS");
    assert_eq!(read(8) >> 19 & 1, 0, "STATUS: no request pending");
}

#[test]
fn queues_count_apart() {
    let card = Card::new();
    let started = card.start(&Config::new());
    let read = registers(&card);
    for first in [0x2300, 0x8600] {
        let words: Vec<_> = (0..4).map(|i| read(first + 4 * i)).collect();
        assert_eq!(words, [0x0302_0100, 0x0706_0504, 0x0b0a_0908, 0x0f0e_0d0c], "RQSMR, TQSM");
    }
    drop(started);
}

#[test]
fn the_spreading_table_is_full_on_each_family() {
    for (device, further) in [(I82599, false), (X540, false), (X550, true)] {
        let card = Card::of(device);
        let started = card.start(&Config::new().rx_queues(3));
        let read = registers(&card);
        assert_eq!((read(0x5c00), read(0x5c7c)), (0x0002_0100, 0x0100_0201), "RETA");
        assert_eq!(read(0x5818) & 0xf, 1, "MRQC: RSS");
        assert_eq!((read(0xee80) != 0, read(0xeffc) != 0), (further, further), "ERETA");
        drop(started);
    }
}

#[test]
fn vectors_are_the_queues_numbers_and_transmit_queues_come_behind() {
    let card = Card::new();
    let started = card.start(&Config::new().rx_queues(3).tx_queues(2).interrupts(true));
    let read = registers(&card);
    assert_eq!((read(0x900), read(0x904), read(0x908)), (0x8481_8380, 0x0000_0082, 0), "IVAR");
    assert_eq!(read(0xa00), 0x8500, "IVAR_MISC");
    assert_eq!((read(0x810), read(0xad0), read(0xad4)), (0x1f, 0x1f, 0), "EIAC, EIAM");
    assert_eq!((read(0x820), read(0x830), read(0x834)), (0x28, 0x28, 0), "EITR: 10 us for queues, in units of 2 us");
    assert_eq!((read(0xaa0), read(0xaa4)), (0, 0), "EIMS: no queue fires until it is armed");
    assert_eq!(read(0x898) & 0xc000_0030, 0xc000_0030, "GPIE");
    drop(started);
}

#[test]
fn thirty_two_queues_have_vectors_in_both_halves_of_the_registers() {
    let card = Card::new();
    let config = Config::new().rx_queues(16).rx_ring(64).tx_queues(16).tx_ring(64).interrupts(true);
    let started = card.start(&config);
    let read = registers(&card);
    assert_eq!((read(0x900), read(0x91c)), (0x9181_9080, 0x9f8f_9e8e), "IVAR");
    assert_eq!(read(0xa00), 0xa000, "IVAR_MISC: the control vector is 32");
    assert_eq!((read(0x810), read(0xad0), read(0xad4)), (0xffff, u32::MAX, 0), "EIAC has the vectors 0 to 15, EIAM all of them");
    assert_eq!((read(0x87c), read(0x1_2300), read(0x1_231c), read(0x1_2320)), (0x28, 0x28, 0x28, 0), "EITR, from 24 on elsewhere");
    drop(started);
}
