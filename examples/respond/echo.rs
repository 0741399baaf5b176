//! The echo service (RFC 862): who sends a datagram gets it back.

use std::time::Duration;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket, UdpMetadata};
use smoltcp::time::{Duration as StackDuration, Instant};
use smoltcp::wire::IpAddress;

/// The UDP port of the service.
pub(crate) const PORT: u16 = 7;
/// The longest datagram, and how many of them wait to be read.
const DATAGRAM_BYTES: usize = 64 * 1024;
const DATAGRAMS: usize = 64;
/// How many answers may wait for their receiver's Ethernet address at once.
const WAITING: usize = 16;
/// How long one waits: who has not told its address by then does not get it.
const WAITS: Duration = Duration::from_secs(3);

/// One socket that hears, and others that answer: an answer to somebody who does not tell its Ethernet address, or is on no network of ours,
/// stays in its socket, and would keep all that come after it in the same one from leaving.
pub(crate) struct Echo {
    hears: SocketHandle,
    answers: Vec<Answer>,
    datagram: Vec<u8>,
    /// Datagrams sent back.
    pub(crate) echoed: u64,
}

struct Answer {
    socket: SocketHandle,
    /// Since when a datagram waits in it.
    since: Option<Instant>,
}

impl Echo {
    pub(crate) fn new(sockets: &mut SocketSet<'static>) -> Self {
        // The first of several sockets with one port is the one that hears.
        let hears = sockets.add(socket(DATAGRAMS, DATAGRAMS.min(4) * DATAGRAM_BYTES));
        let answers = (0..WAITING).map(|_| Answer { socket: sockets.add(socket(1, DATAGRAM_BYTES)), since: None }).collect();
        Self { hears, answers, datagram: Vec::new(), echoed: 0 }
    }

    /// Takes datagrams and has the stack send them back. `is_own`: whether an address is one of this host, and no group's.
    pub(crate) fn turn(&mut self, now: Instant, sockets: &mut SocketSet<'static>, is_own: impl Fn(IpAddress) -> bool) {
        self.look_what_left(now, sockets);
        while let Ok((payload, from)) = sockets.get_mut::<Socket>(self.hears).recv() {
            self.datagram.clear();
            self.datagram.extend_from_slice(payload);
            // Two echo services would keep one datagram going for ever (CERT CA-1996-01).
            if from.endpoint.port == PORT {
                continue;
            }
            // The address that was asked is the answer's source if it is one host's (RFC 1122 section 3.2.1.3, RFC 4291 section 2.7).
            let answer = UdpMetadata { local_address: from.local_address.filter(|address| is_own(*address)), ..from };
            let Some(free) = free(&mut self.answers, sockets) else { return };
            if sockets.get_mut::<Socket>(free.socket).send_slice(&self.datagram, answer).is_ok() {
                free.since = Some(now);
            }
        }
    }

    /// Counts what has left, and lets go of what nobody takes.
    pub(crate) fn look_what_left(&mut self, now: Instant, sockets: &mut SocketSet<'static>) {
        for answer in &mut self.answers {
            let Some(since) = answer.since else { continue };
            let socket = sockets.get_mut::<Socket>(answer.socket);
            if socket.send_queue() == 0 && socket.can_send() {
                self.echoed += 1;
                answer.since = None;
            } else if now >= since + StackDuration::from(WAITS) {
                answer.empty(sockets);
            }
        }
    }
}

/// A socket that holds nothing; the one that has waited longest gives up its datagram where all do.
fn free<'a>(answers: &'a mut [Answer], sockets: &mut SocketSet<'static>) -> Option<&'a mut Answer> {
    let answer = answers.iter_mut().min_by_key(|answer| answer.since.map_or(i64::MIN, |since| since.total_micros()))?;
    if answer.since.is_some() {
        answer.empty(sockets);
    }
    Some(answer)
}

impl Answer {
    fn empty(&mut self, sockets: &mut SocketSet<'static>) {
        // A socket silent for its neighbour stays so, whatever it holds: a new one takes its place.
        sockets.remove(self.socket);
        self.socket = sockets.add(socket(1, DATAGRAM_BYTES));
        self.since = None;
    }
}

fn socket(datagrams: usize, bytes: usize) -> Socket<'static> {
    let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; datagrams], vec![0; bytes]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.bind(PORT).unwrap_or_else(|error| unreachable!("a new socket takes any port but 0: {error}"));
    socket
}
