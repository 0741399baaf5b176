//! `barewire info` and `stats` on simulated cards, and how the tool explains itself.

#[path = "common/captures.rs"]
mod captures;
mod common;

use common::Directory;
use common::machine::barewire;
use serde_json::{Value, json};

fn json_of(arguments: &[&str]) -> Value {
    let outcome = barewire(arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

#[test]
fn info_tells_what_the_driver_reports() {
    let directory = Directory::new("cli-info");
    let spec = format!("sim:ixgbe,card=x550,mac=02:00:00:00:00:42,pcap-out={}", directory.file("out.pcap"));
    let info = json_of(&["info", &spec, "--json"]);
    assert_eq!(info["device"], json!(spec));
    assert_eq!((&info["driver"], &info["mac"], &info["mtu"]), (&json!("ixgbe"), &json!("02:00:00:00:00:42"), &json!(1500)));
    assert_eq!(info["link"], json!({ "up": true, "speed_mbps": 10000, "full_duplex": true }));
    assert_eq!((&info["max_mtu"], &info["ring_limits"]), (&json!(9710), &json!([64, 4096])));
    let types = ["IPV4", "TCP_IPV4", "UDP_IPV4", "IPV6", "TCP_IPV6", "UDP_IPV6"];
    assert_eq!((&info["max_rx_queues"], &info["rss"]), (&json!(64), &json!({ "queues": 64, "table_len": 512, "types": types })));
    let used = "RX_CHECKSUM TX_CHECKSUM RX_SCATTER TX_GATHER RX_FILTERS SET_MAC LINK_STATE VLAN_FILTERS TX_VLAN_INSERT TX_SEGMENTATION FLOW_STEERING TX_COUNT RECOVERY TX_SCTP_CRC";
    assert_eq!(info["capabilities"], json!(used.split(' ').collect::<Vec<_>>()), "one queue, and no interrupts");
    let unused = info["unused_capabilities"].as_array().unwrap();
    assert_eq!(info["software_capabilities"], json!([]), "the card does them");
    assert!(["RSS", "INTERRUPTS", "FLOW_CONTROL"].iter().all(|name| unused.contains(&json!(name))), "{info}");
    let text = barewire(&["info", &spec]).stdout;
    assert!(text.contains("\ncapabilities        RX_CHECKSUM, TX_CHECKSUM, RX_SCATTER, "), "{text}");
    assert!(text.contains("\ndone in software    none\n"), "{text}");
    assert!(text.contains("\nfeatures in use     none\n"), "{text}");
    assert!(
        text.contains("\nlink                up, 10000 Mbit/s, full duplex (100M+1G+2.5G+5G+10G offered, the other end 100M+1G+2.5G+5G+10G)\n"),
        "{text}"
    );
    assert!(text.contains("\nspreads flows       over 64 receive queues, by a table of 512 entries and a hash of IPV4, TCP_IPV4, "), "{text}");
    assert!(text.contains("\naddress             02:00:00:00:00:42\n"), "{text}");
}

#[test]
fn the_options_of_device_specs_are_listed() {
    for (arguments, wanted) in [
        (["info", "--help"], &["  way=iommufd|group|noiommu ", "  mac=XX:XX:XX:XX:XX:XX ", "  dgram=LOCAL:REMOTE "][..]),
        (["stats", "--help"], &["  way=iommufd|group|noiommu ", "  hang-tx=after:N ", "  loss=P ", "--all"][..]),
        (["sim", "--help"], &["  card=82599|x540|x550|82599-vf|x540-vf|x550-vf ", "  pcap-in=FILE "][..]),
    ] {
        let help = barewire(&arguments).stdout;
        assert!(wanted.iter().all(|option| help.contains(option)), "{help}");
    }
}

/// A card whose MTU is below 1500 is started with what it allows, where nobody asks for more.
#[test]
fn a_card_with_a_small_mtu_starts() {
    let info = json_of(&["info", "sim:virtio-net,mtu=1280", "--wait", "0", "--json"]);
    assert_eq!((&info["mtu"], &info["max_mtu"]), (&json!(1280), &json!(1280)));
    let stats = json_of(&["stats", "sim:virtio-net,mtu=1280", "--seconds", "0", "--json"]);
    assert!(stats.to_string().contains("rx_packets"), "{stats}");
}

/// Two programs on one bridge would take each other's frames.
#[test]
fn cards_of_two_processes_have_two_addresses() {
    let mac = || json_of(&["info", "sim:ixgbe", "--wait", "0", "--json"])["mac"].clone();
    let (one, another) = (mac(), mac());
    assert_ne!(one, another);
    assert!(one.as_str().unwrap().starts_with("02:") && another.as_str().unwrap().starts_with("02:"), "locally administered: {one}, {another}");
}

#[test]
fn info_lists_what_a_virtio_card_offers_beyond_what_is_used() {
    let info = json_of(&["info", "sim:virtio-net", "--wait", "0", "--json"]);
    assert_eq!((&info["rx_ring"], &info["tx_ring"], &info["ring_limits"]), (&json!(256), &json!(256), &json!([8, 256])), "512 were asked for");
    let text = barewire(&["info", "sim:virtio-net", "--wait", "0"]).stdout;
    assert!(text.contains("\nspreads flows       no\n"), "{text}");
    assert!(text.contains("\nrings               256 descriptors to receive, 256 to send; 8 to 256 can be asked for\n"), "{text}");
    assert_eq!((&info["driver"], &info["link"]["up"]), (&json!("virtio-net"), &json!(false)));
    assert!(info["features"].as_array().unwrap().contains(&json!("MRG_RXBUF")), "{info}");
    assert_eq!(info["unused_features"], json!(["CTRL_VLAN", "CTRL_RX_EXTRA"]), "no VLAN was asked for");
    let used = ["RX_CHECKSUM", "TX_CHECKSUM", "RX_SCATTER", "TX_GATHER", "RX_FILTERS", "SET_MAC", "LINK_STATE", "RECOVERY"];
    assert_eq!(info["capabilities"], json!(used));
    assert_eq!(info["unused_capabilities"], json!(["INTERRUPTS", "VLAN_FILTERS"]));
    assert_eq!(info["software_capabilities"], json!(["TX_VLAN_INSERT", "TX_SEGMENTATION", "TX_SCTP_CRC"]), "the device fills checksums in");
}

#[test]
fn stats_counts_what_arrives() {
    let directory = Directory::new("cli-stats");
    let frames: Vec<_> = (0..500u32).map(|n| [&[0xff; 6][..], &captures::frame(60, n)[6..]].concat()).collect();
    captures::write(&directory.file("in.pcap"), &frames);
    for card in ["sim:ixgbe", "sim:virtio-net"] {
        let spec = format!("{card},pcap-in={}", directory.file("in.pcap"));
        let stats = json_of(&["stats", &spec, "--seconds", "2", "--json"]);
        assert_eq!(
            (&stats["device"], &stats["stats"]["rx_packets"], &stats["stats"]["rx_bytes"]),
            (&json!(spec), &json!(500), &json!(30_000)),
            "{stats}"
        );
        assert_eq!(stats["stats"].as_object().unwrap().len(), 15);
    }
    let text = barewire(&["stats", "sim:ixgbe", "--seconds", "0"]).stdout;
    assert!(text.starts_with("rx_packets          0\ntx_packets          0\n"), "{text}");
}

#[test]
fn stats_with_all_lists_every_counter_of_the_card_and_its_queues() {
    let directory = Directory::new("cli-stats-all");
    let frames: Vec<_> = (0..500u32).map(|n| [&[0xff; 6][..], &captures::frame(if n < 100 { 60 } else { 300 }, n)[6..]].concat()).collect();
    captures::write(&directory.file("in.pcap"), &frames);
    for (card, counters) in [
        (
            "sim:ixgbe",
            &[("rx_broadcast_packets", 500), ("rx_size_64_packets", 100), ("rx_size_256_to_511_packets", 400), ("rx_q0_delivered", 500)][..],
        ),
        ("sim:virtio-net", &[("rx_q0_packets", 500), ("rx_q0_bytes", 126_000), ("rx_q0_delivered", 500)][..]),
    ] {
        let spec = format!("{card},pcap-in={}", directory.file("in.pcap"));
        let stats = json_of(&["stats", &spec, "--all", "--seconds", "2", "--json"]);
        assert_eq!(stats["stats"]["rx_packets"], json!(500), "{stats}");
        for (name, value) in counters {
            assert_eq!(stats["xstats"][name], json!(value), "{card}: {name}");
        }
        let brief = json_of(&["stats", &spec, "--seconds", "0", "--json"]);
        assert_eq!(brief.get("xstats"), None);
    }
    let text = barewire(&["stats", "sim:ixgbe", "--all", "--seconds", "0"]).stdout;
    let (usual, all) = text.split_once("\n\n").unwrap_or_else(|| panic!("{text}"));
    assert!(usual.starts_with("rx_packets          0\n") && usual.lines().count() == 15, "{text}");
    let columns: std::collections::BTreeSet<_> = all.lines().map(str::len).collect();
    assert!(all.lines().count() > 100 && all.contains("\ntx_q0_taken ") && columns.len() == 1, "{text}");
}

#[test]
fn a_device_that_cannot_be_had_is_told() {
    for command in ["info", "stats"] {
        let wrong = barewire(&[command, "sim:ixgbe,tpa=x"]);
        assert_eq!((wrong.status, wrong.stderr.lines().count()), (Some(2), 1), "{wrong:?}");
        assert!(wrong.stderr.contains("did you mean tap=NAME?"), "{wrong:?}");
        let missing = barewire(&[command, "ffff:ff:1f.7"]);
        assert_eq!(missing.status, Some(1), "{missing:?}");
        assert!(missing.stderr.contains("there is no PCI function ffff:ff:1f.7"), "{missing:?}");
    }
}

#[test]
fn it_explains_itself() {
    let help = barewire(&["--help"]);
    assert_eq!(help.status, Some(0));
    for word in ["list", "bind", "unbind", "doctor", "info", "stats", "--json", "Exit status"] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    for wrong in [
        &[][..],
        &["lst"],
        &["list", "0000:01:00.0"],
        &["stats", "sim:ixgbe", "--seconds", "-1"],
        &["info", "sim:ixgbe", "--wait", "inf"],
        &["stats", "sim:ixgbe", "--all=no"],
    ] {
        assert_eq!(barewire(wrong).status, Some(2), "{wrong:?}");
    }
}

#[test]
fn info_tells_why_there_is_no_link_and_what_was_negotiated() {
    for (spec, why) in [
        ("sim:ixgbe", "no-signal"),
        ("sim:ixgbe,cage=none", "no-module"),
        ("sim:ixgbe,cage=foreign", "unsupported-module"),
        ("sim:ixgbe,card=x540", "no-partner"),
    ] {
        let info = json_of(&["info", spec, "--wait", "0", "--json"]);
        assert_eq!((&info["link"]["up"], &info["link_down"]), (&json!(false), &json!(why)), "{spec}");
    }
    let directory = Directory::new("cli-speeds");
    let spec = format!("sim:ixgbe,card=x550,partner=100M+2.5G,pcap-out={}", directory.file("out.pcap"));
    let info = json_of(&["info", &spec, "--speeds", "2.5G+10G", "--json"]);
    assert_eq!((&info["link"]["speed_mbps"], &info["link_down"]), (&json!(2500), &Value::Null));
    assert_eq!(info["negotiation"], json!({ "offered": "2.5G+10G", "partner": "100M+2.5G", "complete": true }));
    let text = barewire(&["info", &spec]).stdout;
    assert!(text.contains("\nlink                up, 2500 Mbit/s, full duplex (100M+1G+2.5G+5G+10G offered, the other end 100M+2.5G)\n"), "{text}");
    assert!(text.contains("\ntemperature         none\n"), "{text}");
    let text = barewire(&["info", "sim:ixgbe", "--wait", "0"]).stdout;
    assert!(text.contains("\ntemperature         board 1 47 C of 100 C, board 3 52 C of 85 C\n"), "{text}");
    let wrong = barewire(&["info", &spec, "--speeds", "3G"]);
    assert!(wrong.status == Some(2) && wrong.stderr.contains("give one of 100M, 1G"), "{wrong:?}");
}
