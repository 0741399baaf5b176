//! The smallest application does what it says.

mod common;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use common::{Directory, example};

#[test]
fn every_frame_comes_back_with_its_addresses_exchanged() {
    let directory = Directory::new("first");
    let (near, far) = (directory.file("near"), directory.file("far"));
    let socket = UnixDatagram::bind(&near).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut first = example("first").arg(format!("sim:ixgbe,mac=02:00:00:00:00:01,dgram={far}:{near}")).spawn().unwrap();
    let frame: Vec<u8> = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5].into_iter().chain(0..=255).collect();
    let mut answer = [0; 2048];
    // Its socket comes first, then its link: until then frames are lost, as on any cable.
    let found = (0..200).find_map(|_| {
        let sent = socket.send_to(&frame, &far);
        if sent.is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
        sent.and_then(|_| socket.recv(&mut answer)).ok()
    });
    let found = &answer[..found.expect("an answer")];
    assert_eq!(found, [&frame[6..12], &frame[..6], &frame[12..]].concat());
    // Nobody sends from everybody's address.
    let everybody = [&[0xff; 6], &frame[6..]].concat();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Answers to the first one that were on the way.
    let back = std::iter::repeat_with(|| {
        socket.send_to(&everybody, &far).unwrap();
        let len = socket.recv(&mut answer).unwrap();
        answer[..len].to_vec()
    });
    let back: Vec<_> = back.take(3).collect();
    first.kill().unwrap();
    first.wait().unwrap();
    for found in back {
        assert_eq!(found, [&frame[6..12], &frame[..6], &frame[12..]].concat());
    }
}

#[test]
fn without_a_device_it_says_what_to_give() {
    let table: [(&[&str], &str); 3] = [
        (&[], "Error: first DEVICE: give a device, for instance sim:ixgbe,tap=tap0\n"),
        (&["--help"], "Error: first DEVICE: give a device, for instance sim:ixgbe,tap=tap0\n"),
        (&["sim:igxbe"], "Error: sim:igxbe: no simulated card of that name; did you mean sim:ixgbe?\n"),
    ];
    for (arguments, wanted) in table {
        let output = example("first").args(arguments).output().unwrap();
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr) == wanted, "{output:?}");
    }
}
