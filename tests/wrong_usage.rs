//! Wrong specs, options and configurations: one line that says what is wrong and what would be right, and nothing done.

mod common;

use barewire::{Config, Error, PoolConfig};
use common::run;

#[test]
fn a_wrong_spec_is_wrong_usage() {
    let table = [
        ("", "an empty device spec"),
        ("eth0", "no device spec; a device is 0000:01:00.0 (a PCI address), vfio-user:PATH, or sim:ixgbe or sim:virtio-net with"),
        ("sin:ixgbe", "did you mean sim:?"),
        ("sim:igxbe", "did you mean sim:ixgbe?"),
        ("sim:ixgbe,pcap-inn=x", "did you mean pcap-in=FILE?"),
        ("sim:ixgbe,loss=2", "a probability is a number from 0 to 1"),
        ("0000:01:00", "no PCI address"),
        ("0000:01:00.0,way=type1", "give way=iommufd|group|noiommu"),
        ("vfio-user:", "the socket's path is missing: vfio-user:PATH"),
    ];
    for (spec, wanted) in table {
        for (name, arguments) in [
            ("forward", vec![spec, "sim:ixgbe"]),
            ("pipeline", vec![spec, "sim:ixgbe"]),
            ("respond", vec![spec, "--ip", "10.0.0.1/24"]),
            ("pktgen", vec![spec]),
            ("capture", vec![spec, "--write", "/nonexistent/x.pcapng"]),
        ] {
            let outcome = run(name, &arguments);
            assert_eq!(outcome.status, Some(2), "{name} {spec}: {outcome:?}");
            assert!(outcome.stderr.contains(wanted) && outcome.stderr.lines().count() == 1, "{name} {spec}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_pci_function_that_is_not_there_is_told() {
    for spec in ["ffff:ff:1f.7", "ffff:ff:1f.7,way=group"] {
        let outcome = run("pktgen", &[spec]);
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        let wanted =
            "error: ffff:ff:1f.7: opening it: there is no PCI function ffff:ff:1f.7. To mend it: look for the right address with: barewire list\n";
        assert_eq!(outcome.stderr, wanted);
    }
}

#[test]
fn devices_that_cannot_share_memory_are_wrong_usage() {
    let outcome = run("forward", &["sim:ixgbe", "ffff:ff:1f.7"]);
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    let wanted = "a PCI function cannot share memory with simulated cards; open it by a host of its own, and copy frames between them";
    assert_eq!(outcome.stderr, format!("error: ffff:ff:1f.7: {wanted}\n"));
}

#[test]
fn a_vfio_user_socket_that_is_not_there_is_told() {
    let outcome = run("pktgen", &["vfio-user:/nonexistent/nic.sock"]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    let wanted = "error: vfio-user:/nonexistent/nic.sock: connecting to the server: there is nothing at /nonexistent/nic.sock. To mend it: ";
    assert!(outcome.stderr.starts_with(wanted) && outcome.stderr.lines().count() == 1, "{}", outcome.stderr);
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    let table: [(&str, &[&str], &str); 16] = [
        ("forward", &["sim:ixgbe"], "2 values"),
        ("forward", &["--batch", "0"], "--batch"),
        ("forward", &["--seconds=-1"], "give a number of seconds above 0"),
        ("forward", &["--seconds", "nan"], "give a number of seconds above 0"),
        ("forward", &["--seconds", "0"], "give a number of seconds above 0"),
        ("forward", &["--seconds", "1e30"], "give a number of seconds above 0"),
        ("forward", &["--size", "20"], "give a size from 60 to 9724 bytes"),
        ("forward", &["--size", "64", "sim:ixgbe", "sim:ixgbe"], "cannot be used with"),
        ("pipeline", &["sim:ixgbe"], "2 values"),
        ("pipeline", &["--batches", "0"], "--batches"),
        ("respond", &["sim:ixgbe"], "--ip"),
        ("respond", &["sim:ixgbe", "--ip", "10.9.0.2"], "10.9.0.2/24"),
        ("respond", &["sim:ixgbe", "--ip", "10.9.0.2/24", "--ip6", "fd00::2"], "fd00::2/64"),
        ("pktgen", &["sim:ixgbe", "--rate", "0"], "a number of frames a second from 1 on, or max"),
        ("pktgen", &["sim:ixgbe", "--size", "9725"], "9724"),
        ("capture", &["sim:ixgbe"], "--write"),
    ];
    for (name, arguments, wanted) in table {
        let outcome = run(name, arguments);
        assert_eq!(outcome.status, Some(2), "{name} {arguments:?}: {outcome:?}");
        assert!(outcome.stderr.contains(wanted), "{name} {arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn every_application_explains_itself() {
    for name in ["forward", "pipeline", "respond", "pktgen", "capture"] {
        let outcome = run(name, &["--help"]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        assert!(outcome.stdout.contains("Usage: ") && outcome.stdout.contains("Exit status"), "{}", outcome.stdout);
    }
}

#[test]
fn a_wrong_configuration_is_told() {
    let table = [
        (Config::new().rx_ring(500), "power of two"),
        (Config::new().tx_ring(1 << 20), "power of two from 64 to 4096"),
        (Config::new().mtu(9711), "an MTU of 9711 bytes asked for: take 68 to 9710"),
        (Config::new().rx_queues(0), "0 receive queues asked for"),
    ];
    for (config, wanted) in table {
        let error = barewire::open("sim:ixgbe").unwrap().start(&config).unwrap_err();
        assert!(matches!(error, Error::Device(_)), "{error:?}");
        assert!(error.to_string().contains(wanted) && error.to_string().starts_with("sim:ixgbe: starting: "), "{error}");
    }
    // A pool of another host's domain is memory that the card does not reach.
    let other = barewire::open("sim:ixgbe").unwrap().start(&Config::new()).unwrap();
    let pool = barewire::BufPool::new(other.pool.domain(), PoolConfig::new(2048)).unwrap();
    let error = barewire::open("sim:ixgbe").unwrap().start(&Config::new().pool(pool)).unwrap_err();
    assert!(error.to_string().contains("DMA domain"), "{error}");
}
