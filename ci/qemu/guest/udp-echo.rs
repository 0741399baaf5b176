//! UDP echo over the guest's own network stack: the part of a test that busybox has no applet for.
//!
//! `udp-echo serve ADDRESS:PORT` sends every datagram back to where it came from.
//! `udp-echo ask ADDRESS:PORT COUNT` sends COUNT numbered datagrams of 0 to 1472 bytes, one after the other, and
//! fails at the first that does not come back equal within ten seconds. A server that has just been started is asked again.
//! `udp-echo segments ADDRESS:PORT COUNT SIZE` hands COUNT times 10 datagrams of SIZE bytes and one of half as many to the kernel in one piece, to be cut
//! (UDP_SEGMENT), and fails at the first that does not come back equal.
//! `udp-echo send FROM ADDRESS:PORT COUNT` sends COUNT datagrams from port FROM, and asks for no answer.

use std::io::{Error, ErrorKind};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// UDP payload of a full Ethernet frame of 1514 bytes: 1500 less 20 of IPv4 and 8 of UDP.
const MAX_PAYLOAD: usize = 1472;
/// How long an answer may take, and a server to start.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["serve", address] => serve(address),
        ["ask", address, count] => match count.parse() {
            Ok(count) => ask(address, count),
            Err(_) => Err(Error::other("COUNT is not a number")),
        },
        ["segments", address, count, size] => match (count.parse(), size.parse()) {
            (Ok(count), Ok(size)) => segments(address, count, size),
            _ => Err(Error::other("COUNT or SIZE is not a number")),
        },
        ["send", from, address, count] => match (from.parse(), count.parse()) {
            (Ok(from), Ok(count)) => send(from, address, count),
            _ => Err(Error::other("FROM or COUNT is not a number")),
        },
        _ => Err(Error::other(
            "usage: udp-echo serve ADDRESS:PORT | ask ADDRESS:PORT COUNT | segments ADDRESS:PORT COUNT SIZE | send FROM ADDRESS:PORT COUNT",
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("udp-echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> Result<(), Error> {
    let socket = UdpSocket::bind(address)?;
    let mut buffer = [0; MAX_PAYLOAD];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..length], from)?;
    }
}

/// A socket whose server answers.
fn connected(address: &str) -> Result<UdpSocket, Error> {
    let socket = UdpSocket::bind(if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" })?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let start = Instant::now();
    while let Err(error) = socket.send(b"?").and_then(|_| socket.recv(&mut [0; 1])) {
        if error.kind() != ErrorKind::ConnectionRefused || start.elapsed() > PATIENCE {
            return Err(Error::other(format!("no answer to the first datagram: {error}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(socket)
}

/// The kernel's numbers: include/uapi/linux/udp.h.
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;

unsafe extern "C" {
    fn setsockopt(socket: i32, level: i32, name: i32, value: *const i32, len: u32) -> i32;
}

fn segments(address: &str, count: u32, size: u16) -> Result<(), Error> {
    let socket = connected(address)?;
    let wanted = i32::from(size);
    // SAFETY: the value is an int, and as long as is said.
    if unsafe { setsockopt(socket.as_raw_fd(), SOL_UDP, UDP_SEGMENT, &wanted, 4) } != 0 {
        return Err(Error::last_os_error());
    }
    let size = usize::from(size);
    for number in 0..count as usize {
        let sent: Vec<u8> = (0..10 * size + size / 2).map(|at| (number * 31 + at * 7 + at / 256) as u8).collect();
        socket.send(&sent)?;
        for (index, part) in sent.chunks(size).enumerate() {
            let mut received = [0; MAX_PAYLOAD + 1];
            let length = socket.recv(&mut received)?;
            if received[..length] != *part {
                return Err(Error::other(format!("datagram {index} of send {number} came back as {length} other bytes, not {}", part.len())));
            }
        }
    }
    println!("{count} sends of 11 datagrams of {size} bytes echoed");
    Ok(())
}

fn ask(address: &str, count: u32) -> Result<(), Error> {
    let socket = connected(address)?;
    let mut received = [0; MAX_PAYLOAD + 1];
    for number in 0..count {
        let length = number as usize * 601 % (MAX_PAYLOAD + 1);
        let sent: Vec<u8> = (0..length).map(|at| (number as usize * 31 + at * 7 + at / 256) as u8).collect();
        socket.send(&sent)?;
        let length = socket.recv(&mut received).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Error::other(format!("no answer to datagram {number} of {length} bytes")),
            _ => error,
        })?;
        if received[..length] != sent[..] {
            return Err(Error::other(format!("datagram {number} of {} bytes came back as {length} other bytes", sent.len())));
        }
    }
    println!("{count} datagrams of 0 to {MAX_PAYLOAD} bytes echoed");
    Ok(())
}

fn send(from: u16, address: &str, count: u32) -> Result<(), Error> {
    // Not connected: a port where nobody listens is no error then.
    let socket = UdpSocket::bind(("0.0.0.0", from))?;
    (0..count).try_for_each(|number| socket.send_to(&number.to_be_bytes(), address).map(drop))
}
