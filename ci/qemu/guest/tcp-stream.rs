//! A stream of TCP, or of SCTP, whose every byte is compared: what `ping` cannot show of segmentation and checksums.
//!
//! `tcp-stream serve ADDRESS:PORT` takes connections. A connection starts with a seed and two counts, of eight bytes each:
//! how many bytes the caller sends, and how many it receives. Both ways run at once, and each end compares what it receives;
//! the server's last byte says that all was equal.
//! `tcp-stream run ADDRESS:PORT SEED COUNT in|out|both` is the other end. It tries for ten seconds to reach a server that has just been started.
//! Behind `tcp-stream sctp` both do the same over SCTP, whose sockets of one association each are used as TCP's are.

use std::io::{BufReader, Error, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the server says last.
const EQUAL: &[u8] = b"=";
/// A stream that stands still so long has failed.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (protocol, words) = match words[..] {
        ["sctp", ref rest @ ..] => (Protocol::Sctp, rest),
        ref all => (Protocol::Tcp, all),
    };
    let outcome = match *words {
        ["serve", address] => serve(protocol, address),
        ["run", address, seed, count, ways] => match (seed.parse(), count.parse()) {
            (Ok(seed), Ok(count)) => run(protocol, address, seed, count, ways),
            _ => Err(Error::other("SEED and COUNT are numbers")),
        },
        _ => Err(Error::other("usage: tcp-stream [sctp] serve ADDRESS:PORT | run ADDRESS:PORT SEED COUNT in|out|both")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcp-stream: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    /// An association ends in both directions at once, so that the one byte which the server says last is behind no end.
    Sctp,
}

impl Protocol {
    fn listen(self, address: &str) -> Result<TcpListener, Error> {
        if self == Self::Tcp {
            return TcpListener::bind(address);
        }
        let (address, socket) = sctp(address)?;
        // SAFETY: the address is as long as it is said to be.
        checked(unsafe { bind(socket.as_raw_fd(), address.as_ptr(), address.len() as u32) })?;
        // SAFETY: no memory is involved.
        checked(unsafe { listen(socket.as_raw_fd(), 4) })?;
        Ok(socket.into())
    }

    fn connect(self, address: &str) -> Result<TcpStream, Error> {
        if self == Self::Tcp {
            return TcpStream::connect(address);
        }
        let (address, socket) = sctp(address)?;
        // SAFETY: the address is as long as it is said to be.
        checked(unsafe { connect(socket.as_raw_fd(), address.as_ptr(), address.len() as u32) })?;
        Ok(socket.into())
    }
}

unsafe extern "C" {
    fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
    fn bind(socket: i32, address: *const u8, len: u32) -> i32;
    fn listen(socket: i32, backlog: i32) -> i32;
    fn connect(socket: i32, address: *const u8, len: u32) -> i32;
}

fn checked(result: i32) -> Result<i32, Error> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// The address as Linux has it (`sockaddr_in`, `sockaddr_in6`), and an SCTP socket of its family.
fn sctp(address: &str) -> Result<(Vec<u8>, OwnedFd), Error> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const SOCK_STREAM: i32 = 1;
    const IPPROTO_SCTP: i32 = 132;
    let address: SocketAddr = address.parse().map_err(Error::other)?;
    let port = address.port().to_be_bytes();
    let (family, bytes) = match address {
        SocketAddr::V4(v4) => (AF_INET, [&port[..], &v4.ip().octets(), &[0; 8]].concat()),
        SocketAddr::V6(v6) => (AF_INET6, [&port[..], &[0; 4], &v6.ip().octets(), &[0; 4]].concat()),
    };
    // SAFETY: no memory is involved.
    let socket = checked(unsafe { socket(family.into(), SOCK_STREAM, IPPROTO_SCTP) })?;
    // SAFETY: the socket has just been made, and is nobody else's.
    Ok(([&family.to_ne_bytes()[..], &bytes].concat(), unsafe { OwnedFd::from_raw_fd(socket) }))
}

/// The bytes of a stream: SplitMix64 of the seed.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = self.0;
            word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(word ^ word >> 31).to_le_bytes()[..chunk.len()]);
        }
    }
}

fn put(stream: &mut TcpStream, seed: u64, mut count: usize) -> Result<(), Error> {
    let mut noise = Noise(seed);
    let mut bytes = [0; 65536];
    while count > 0 {
        let part = count.min(bytes.len());
        noise.fill(&mut bytes[..part]);
        stream.write_all(&bytes[..part])?;
        count -= part;
    }
    Ok(())
}

fn compare(stream: &mut impl Read, seed: u64, count: usize) -> Result<(), Error> {
    let mut noise = Noise(seed);
    let (mut seen, mut expected) = ([0; 65536], [0; 65536]);
    let mut at = 0;
    while at < count {
        let part = (count - at).min(seen.len());
        stream.read_exact(&mut seen[..part]).map_err(|error| Error::other(format!("after {at} of {count} bytes: {error}")))?;
        noise.fill(&mut expected[..part]);
        if let Some(wrong) = (0..part).find(|&i| seen[i] != expected[i]) {
            return Err(Error::other(format!("byte {} of {count} is {:#04x}, not {:#04x}", at + wrong, seen[wrong], expected[wrong])));
        }
        at += part;
    }
    Ok(())
}

/// Sends `out` bytes and receives `taken`, at once. Returns the stream with what is left in it.
fn exchange(stream: &TcpStream, [sent, expected]: [u64; 2], [out, taken]: [usize; 2]) -> Result<BufReader<&TcpStream>, Error> {
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || put(&mut writer, sent, out));
        let mut reader = BufReader::new(stream);
        compare(&mut reader, expected, taken)?;
        writing.join().map_err(|_| Error::other("the writer panicked"))??;
        Ok(reader)
    })
}

fn serve(protocol: Protocol, address: &str) -> Result<(), Error> {
    let listener = protocol.listen(address)?;
    loop {
        let (mut stream, _) = listener.accept()?;
        std::thread::spawn(move || {
            let outcome = stream.set_read_timeout(Some(SILENCE)).and_then(|()| {
                let mut header = [0; 24];
                stream.read_exact(&mut header)?;
                let [seed, taken, out] = [0, 8, 16].map(|at| u64::from_le_bytes(header[at..at + 8].try_into().unwrap_or_default()));
                let mut rest = exchange(&stream, [!seed, seed], [out as usize, taken as usize])?;
                let extra = if protocol == Protocol::Tcp { rest.read(&mut header)? } else { rest.buffer().len() };
                if extra > 0 {
                    return Err(Error::other(format!("{extra} bytes too many")));
                }
                stream.write_all(EQUAL)?;
                // Until the other end has read it.
                stream.read(&mut header).map(|_| ())
            });
            if let Err(error) = outcome {
                eprintln!("tcp-stream: {error}");
            }
        });
    }
}

fn reach(protocol: Protocol, address: &str) -> Result<TcpStream, Error> {
    let start = Instant::now();
    loop {
        match protocol.connect(address) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && start.elapsed() < START => std::thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}

fn run(protocol: Protocol, address: &str, seed: u64, count: u64, ways: &str) -> Result<(), Error> {
    let [out, taken] = match ways {
        "in" => [0, count],
        "out" => [count, 0],
        "both" => [count, count],
        _ => return Err(Error::other("the last argument is in, out or both")),
    };
    let mut stream = reach(protocol, address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let start = Instant::now();
    stream.write_all(&[seed, out, taken].map(u64::to_le_bytes).concat())?;
    let mut rest = exchange(&stream, [seed, !seed], [out as usize, taken as usize])?;
    let mut last = vec![0; EQUAL.len()];
    if protocol == Protocol::Tcp {
        stream.shutdown(Shutdown::Write)?;
        last.clear();
        rest.read_to_end(&mut last)?;
    } else {
        rest.read_exact(&mut last)?;
    }
    if last != EQUAL {
        return Err(Error::other("the server received other bytes"));
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{out} bytes out and {taken} in, all equal, {:.0} Mbit/s", (out + taken) as f64 * 8e-6 / seconds);
    Ok(())
}
