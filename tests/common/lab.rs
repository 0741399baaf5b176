//! `respond` over unix datagrams: the test is the far end, and makes and reads every byte itself.
#![allow(dead_code, reason = "each test uses a part")]

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::common::{Directory, example};

pub(crate) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
pub(crate) const CARD_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x42];
pub(crate) const OUR_IP: [u8; 4] = [10, 9, 0, 1];
pub(crate) const CARD_IP: [u8; 4] = [10, 9, 0, 2];
/// EtherTypes and IP protocols.
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const ICMP: u8 = 1;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// A running `respond` and the far end of its wire.
pub(crate) struct Lab {
    respond: Child,
    pub(crate) socket: UnixDatagram,
    pub(crate) far: String,
    _directory: Directory,
}

impl Lab {
    pub(crate) fn start(test: &str, arguments: &[&str]) -> Self {
        Self::with_card("sim:ixgbe", test, arguments)
    }

    pub(crate) fn with_card(card: &str, test: &str, arguments: &[&str]) -> Self {
        Self::with_mtu(card, test, 9000, arguments)
    }

    pub(crate) fn with_mtu(card: &str, test: &str, mtu: u32, arguments: &[&str]) -> Self {
        let directory = Directory::new(test);
        let (near, far) = (directory.file("near"), directory.file("far"));
        let socket = UnixDatagram::bind(&near).unwrap();
        let spec = format!("{card},mac=02:00:00:00:00:42,dgram={far}:{near}");
        let mut command = example("respond");
        command.args([&spec, "--ip", "10.9.0.2/24", "--mtu", &mtu.to_string()]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut lab = Self { respond: command.spawn().unwrap(), socket, far, _directory: directory };
        lab.wait_until_it_answers();
        lab
    }

    /// Its socket comes first, then its link: until then frames are lost, as on any cable. Its own question to everybody, whether its address is taken, is no
    /// answer: it may have come before ours was heard.
    pub(crate) fn wait_until_it_answers(&mut self) {
        let mut answer = [0; 2048];
        let mut asked = || {
            self.socket.send_to(&arp_request(), &self.far).is_ok() && {
                while self.heard(&mut answer, 50).is_some() {
                    if answer[0] & 1 == 0 {
                        return true;
                    }
                }
                false
            }
        };
        let tries = (0..200).find(|_| {
            let answered = asked();
            std::thread::sleep(Duration::from_millis(if answered { 0 } else { 50 }));
            answered
        });
        if tries.is_none() {
            let _ = self.respond.kill();
            panic!("respond does not answer: {}", self.said());
        }
        // Answers to further questions that were on the way.
        while self.heard(&mut answer, 200).is_some() {}
    }

    /// The next frame for us within `limit_ms`: what goes to all (reports of multicast groups) is passed over.
    pub(crate) fn heard(&self, frame: &mut [u8], limit_ms: u64) -> Option<usize> {
        self.socket.set_read_timeout(Some(Duration::from_millis(limit_ms))).unwrap();
        loop {
            let len = self.socket.recv(frame).ok()?;
            if frame[0] & 1 == 0 || frame[..2] == [0xff, 0xff] {
                return Some(len);
            }
        }
    }

    pub(crate) fn ask(&self, question: &[u8]) -> Vec<u8> {
        self.socket.send_to(question, &self.far).unwrap();
        let mut answer = vec![0; 16384];
        // Its own question to everybody, whether its address is taken, may come between.
        let len = loop {
            let len = self.heard(&mut answer, 10_000).expect("an answer within ten seconds");
            if answer[0] & 1 == 0 {
                break len;
            }
        };
        answer.truncate(len);
        assert!(len >= 60, "no frame on a wire is shorter than 60 bytes");
        assert_eq!(answer[..12], [OUR_MAC, CARD_MAC].concat(), "addressed to whoever asked: {answer:x?}");
        answer
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn end(mut self) -> String {
        let killed = std::process::Command::new("kill").args(["-INT", &self.respond.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let status = self.respond.wait().unwrap();
        let said = self.said();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains(" violations=0\n"), "{said}");
        said
    }

    /// What it printed, after it has ended.
    pub(crate) fn said(&mut self) -> String {
        let stdout = std::io::read_to_string(self.respond.stdout.take().unwrap()).unwrap();
        stdout + &std::io::read_to_string(self.respond.stderr.take().unwrap()).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.respond.kill();
        let _ = self.respond.wait();
    }
}

pub(crate) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&CARD_MAC[..], &OUR_MAC, &ether_type.to_be_bytes(), payload].concat()
}

pub(crate) fn arp_request() -> Vec<u8> {
    // RFC 826: Ethernet, IPv4, lengths 6 and 4, request.
    let mut frame = ethernet(ARP, &[&[0, 1, 8, 0, 6, 4, 0, 1][..], &OUR_MAC, &OUR_IP, &[0; 6], &CARD_IP].concat());
    frame[..6].fill(0xff);
    frame
}

/// RFC 1071, over several pieces of which all but the last are even.
pub(crate) fn checksum(pieces: &[&[u8]]) -> u16 {
    let bytes = pieces.concat();
    let sum: u32 = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut header = [&[0x45, 0][..], &len.to_be_bytes(), &[0, 1, 0x40, 0, 64, protocol, 0, 0], &OUR_IP, &CARD_IP].concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(IPV4, &[&header, payload].concat())
}

/// The payload of an IPv4 packet from the card, its header checked.
pub(crate) fn ipv4_payload(frame: &[u8], protocol: u8) -> &[u8] {
    assert_eq!((&frame[12..14], frame[14], frame[23]), (&IPV4.to_be_bytes()[..], 0x45, protocol));
    assert_eq!(frame[26..34], [CARD_IP, OUR_IP].concat());
    assert_eq!(checksum(&[&frame[14..34]]), 0);
    let len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    &frame[34..14 + len]
}

pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + len) as u8).collect()
}

/// ICMP and ICMPv6 alike: type, code 0, checksum over `pseudo` too, identifier 7, sequence 1.
pub(crate) fn echo(kind: u8, pseudo: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0, 0, 7, 0, 1], payload].concat();
    let sum = checksum(&[pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}
