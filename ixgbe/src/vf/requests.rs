//! What a virtual function asks of its physical one: the messages of Linux's driver of the physical function, versions 1.0 to 1.7.

use core::fmt;

use driver_core::device::{ErrorKind, Link, RSS_KEY_BYTES};
use driver_core::ether::MacAddr;
use driver_core::host::Bar;

use crate::card::Card;
use crate::error::HardwareError;
use crate::filter::mac_to_registers;
use crate::regs::Rah;
use crate::vf::mailbox::{Answer, INFO_SHIFT, Mailbox, Message, RESET};

const SET_MAC_ADDR: u32 = 0x02;
const SET_MULTICAST: u32 = 0x03;
const SET_VLAN: u32 = 0x04;
const SET_LPE: u32 = 0x05;
const SET_MACVLAN: u32 = 0x06;
const API_NEGOTIATE: u32 = 0x08;
const GET_QUEUES: u32 = 0x09;
const GET_RETA: u32 = 0x0a;
const GET_RSS_KEY: u32 = 0x0b;
const UPDATE_XCAST_MODE: u32 = 0x0c;
const GET_LINK_STATE: u32 = 0x10;
const GET_PF_LINK_STATE: u32 = 0x11;

/// Multicast addresses in one message: hashes of 16 bits in what is left of 16 words.
pub(crate) const MULTICAST_ROOM: usize = 30;
/// Queues of each direction of a physical function that does not tell: one that talks version 1.0.
const QUEUES_1_0: u16 = 1;

/// A version of the mailbox's interface, by its number on the wire (VF-VERSIONS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Api(u32);

impl Api {
    pub(crate) const V1_0: Self = Self(0);
    const V1_1: Self = Self(2);
    const V1_2: Self = Self(3);
    const V1_3: Self = Self(4);
    const V1_6: Self = Self(7);
    /// Those that are asked for, the newest first. VF-VERSIONS: neither 2.0 nor 1.5.
    const WANTED: [Self; 6] = [Self(8), Self::V1_6, Self(5), Self::V1_3, Self::V1_2, Self::V1_1];
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("1.0"),
            number => write!(f, "1.{}", number - 1),
        }
    }
}

/// Which frames come in that are for several, or for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Xcast {
    /// Multicast frames whose hash is in the table.
    Multicast = 1,
    AllMulticast = 2,
    Promiscuous = 3,
}

/// What a physical function said in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) api: Api,
    /// The address that it gives; `None`: the function may choose.
    pub(crate) mac: Option<MacAddr>,
    /// Which bits of a multicast address are hashed, as MCSTCTRL.MO.
    pub(crate) hash_offset: u32,
    /// Queues of each direction that are the function's.
    pub(crate) rx_queues: u16,
    pub(crate) tx_queues: u16,
    /// The function's link is enabled.
    pub(crate) is_link_enabled: bool,
    /// The physical function tells the port's link by message, and VFLINKS may be silent.
    pub(crate) tells_link: bool,
}

/// A speed in a message: a bit each.
fn speed_mbps(word: u32) -> Option<u32> {
    let known = [(0x008, 100), (0x020, 1_000), (0x080, 10_000), (0x400, 2_500), (0x800, 5_000)];
    known.into_iter().find(|(bit, _)| *bit == word).map(|(_, mbps)| mbps)
}

/// The function behind its mailbox.
pub(crate) struct Requests<'a, B: Bar> {
    pub(crate) card: &'a Card<B>,
    pub(crate) mailbox: &'a mut Mailbox,
}

impl<B: Bar> Requests<'_, B> {
    fn ask(&mut self, name: &'static str, request: &[u32]) -> Result<Answer, ErrorKind> {
        self.mailbox.ask(self.card, name, request)
    }

    /// A request that is not to be refused.
    fn have(&mut self, name: &'static str, request: &[u32], refused: ErrorKind) -> Result<Message, ErrorKind> {
        match self.ask(name, request)? {
            Answer::Granted(answer) => Ok(answer),
            Answer::Refused(_) => Err(refused),
        }
    }

    /// One that may be: what was answered, where it was granted.
    fn may_have(&mut self, name: &'static str, request: &[u32]) -> Result<Option<Message>, ErrorKind> {
        Ok(match self.ask(name, request)? {
            Answer::Granted(answer) => Some(answer),
            Answer::Refused(_) => None,
        })
    }

    /// The handshake behind a reset: the address, the version, the queues, the link.
    pub(crate) fn handshake(&mut self) -> Result<Terms, ErrorKind> {
        // VF-ADDRESS: a refusal says that there is no address.
        let (mac, [.., hash_offset]) = match self.ask("RESET", &[RESET])? {
            Answer::Granted([_, low, high, offset, ..]) => {
                let ([a, b, c, d], [e, f, ..]) = (low.to_le_bytes(), high.to_le_bytes());
                (Some(MacAddr([a, b, c, d, e, f])), [offset])
            }
            Answer::Refused([_, _, _, offset, ..]) => (None, [offset]),
        };
        if let Some(mac) = mac.filter(|mac| !mac.is_valid_unicast()) {
            return Err(HardwareError::AssignedMac { mac }.into());
        }
        let api = self.negotiate()?;
        let (rx_queues, tx_queues) = self.queues(api)?;
        let is_link_enabled = match api >= Api::V1_2 {
            true => self.may_have("GET_LINK_STATE", &[GET_LINK_STATE, 0])?.is_none_or(|[_, state, ..]| state != 0),
            false => true,
        };
        let tells_link = api >= Api::V1_6 && self.port_link()?.is_some();
        Ok(Terms { api, mac, hash_offset: hash_offset & 3, rx_queues, tx_queues, is_link_enabled, tells_link })
    }

    /// The newest version that both know. One that knows of no negotiation talks 1.0.
    fn negotiate(&mut self) -> Result<Api, ErrorKind> {
        for api in Api::WANTED {
            if self.may_have("API_NEGOTIATE", &[API_NEGOTIATE, api.0, 0])?.is_some() {
                return Ok(api);
            }
        }
        Ok(Api::V1_0)
    }

    fn queues(&mut self, api: Api) -> Result<(u16, u16), ErrorKind> {
        if api < Api::V1_1 {
            return Ok((QUEUES_1_0, QUEUES_1_0));
        }
        let Some([_, tx, rx, ..]) = self.may_have("GET_QUEUES", &[GET_QUEUES, 0, 0, 0, 0])? else { return Ok((QUEUES_1_0, QUEUES_1_0)) };
        let possible = 1..=crate::regs::vf::VF_QUEUES;
        match (u16::try_from(rx), u16::try_from(tx)) {
            (Ok(rx_queues), Ok(tx_queues)) if possible.contains(&rx) && possible.contains(&tx) => Ok((rx_queues, tx_queues)),
            _ => Err(HardwareError::AssignedQueues { rx, tx }.into()),
        }
    }

    /// The port's link as the physical function knows it; `None`: it does not tell (VF-LINK).
    pub(crate) fn port_link(&mut self) -> Result<Option<Link>, ErrorKind> {
        let told = self.may_have("GET_PF_LINK_STATE", &[GET_PF_LINK_STATE, 0, 0])?;
        Ok(told.map(|[_, speed, is_up, ..]| if is_up == 0 { Link::down() } else { Link::up_at(speed_mbps(speed)) }))
    }

    /// Gives the function another address.
    pub(crate) fn set_mac(&mut self, mac: MacAddr) -> Result<(), ErrorKind> {
        let refused = ErrorKind::Unsupported {
            what: "this address: its physical function refuses it",
            instead: "have it set there (`ip link set PF vf N mac`), or the function trusted (`ip link set PF vf N trust on`)",
        };
        let [low, high] = address_words(mac);
        self.have("SET_MAC_ADDR", &[SET_MAC_ADDR, low, high], refused).map(drop)
    }

    /// Replaces the addresses beside the function's own. Where one of them is refused there is none.
    pub(crate) fn set_unicast(&mut self, addresses: &[MacAddr]) -> Result<(), ErrorKind> {
        for (taken, &mac) in addresses.iter().enumerate() {
            let [low, high] = address_words(mac);
            // 1 begins the list, and any other number goes on with it.
            let index = if taken == 0 { 1u32 } else { 2 };
            if self.may_have("SET_MACVLAN", &[SET_MACVLAN | index << INFO_SHIFT, low, high])?.is_none() {
                self.clear_unicast()?;
                return Err(ErrorKind::TooManyAddresses { asked: addresses.len(), room: taken });
            }
        }
        if addresses.is_empty() { self.clear_unicast() } else { Ok(()) }
    }

    fn clear_unicast(&mut self) -> Result<(), ErrorKind> {
        self.may_have("SET_MACVLAN", &[SET_MACVLAN, 0, 0]).map(drop)
    }

    /// Replaces the multicast addresses.
    pub(crate) fn set_multicast(&mut self, addresses: &[MacAddr], hash_offset: u32) -> Result<(), ErrorKind> {
        if addresses.len() > MULTICAST_ROOM {
            return Err(ErrorKind::Unsupported {
                what: "more than 30 multicast addresses: so many fit into a message to its physical function",
                instead: "ask for all of them (`RxMode::ALL_MULTICAST`)",
            });
        }
        let mut request = [0u32; 1 + MULTICAST_ROOM / 2];
        for (word, pair) in request.iter_mut().skip(1).zip(addresses.chunks(2)) {
            *word = pair.iter().rev().fold(0, |word, &mac| word << 16 | hash(mac, hash_offset));
        }
        if let Some(first) = request.first_mut() {
            *first = SET_MULTICAST | (addresses.len() as u32) << INFO_SHIFT;
        }
        let refused =
            ErrorKind::Unsupported { what: "multicast filters: its physical function refuses them", instead: "have the function trusted there" };
        self.have("SET_MULTICAST", &request, refused).map(drop)
    }

    /// Sets which frames come in. `false`: the physical function does not let them in.
    pub(crate) fn set_xcast(&mut self, api: Api, mode: Xcast) -> Result<bool, ErrorKind> {
        let first = if mode == Xcast::Promiscuous { Api::V1_3 } else { Api::V1_2 };
        if api < first {
            return Ok(mode == Xcast::Multicast);
        }
        // VF-XCAST: the answer has the mode that is in force.
        let answer = self.may_have("UPDATE_XCAST_MODE", &[UPDATE_XCAST_MODE, mode as u32])?;
        Ok(answer.is_some_and(|[_, granted, ..]| granted == mode as u32))
    }

    /// Lets frames of a VLAN in, or no more.
    pub(crate) fn set_vlan(&mut self, id: u16, on: bool) -> Result<(), ErrorKind> {
        let refused = ErrorKind::Unsupported {
            what: "this VLAN: its physical function refuses it",
            instead: "see there whether the function has a VLAN of its own already (`ip link show PF`), or whether its table is full",
        };
        self.have("SET_VLAN", &[SET_VLAN | u32::from(on) << INFO_SHIFT, id.into()], refused).map(drop)
    }

    /// The longest frame, with its check sequence, that is to come in.
    pub(crate) fn set_length(&mut self, with_fcs: u32) -> Result<(), ErrorKind> {
        let refused = ErrorKind::Unsupported {
            what: "frames as long as its MTU wants: its physical function refuses them",
            instead: "give the physical function as large an MTU, or the virtual one a smaller; an 82599's has 1500 where its physical function has, and a larger one where that has",
        };
        self.have("SET_LPE", &[SET_LPE, with_fcs], refused).map(drop)
    }

    /// The key by which the physical function has flows hashed; `None`: it does not tell.
    pub(crate) fn rss_key(&mut self, api: Api) -> Result<Option<[u8; RSS_KEY_BYTES]>, ErrorKind> {
        if api < Api::V1_2 {
            return Ok(None);
        }
        let Some(answer) = self.may_have("GET_RSS_KEY", &[GET_RSS_KEY])? else { return Ok(None) };
        let mut key = [0; RSS_KEY_BYTES];
        for (bytes, word) in key.as_chunks_mut::<4>().0.iter_mut().zip(answer.iter().skip(1)) {
            *bytes = word.to_le_bytes();
        }
        Ok(Some(key))
    }

    /// The lower two bits of the physical function's redirection table; `None`: it does not tell.
    pub(crate) fn rss_table(&mut self, api: Api) -> Result<Option<[u8; 128]>, ErrorKind> {
        if api < Api::V1_2 {
            return Ok(None);
        }
        let Some(answer) = self.may_have("GET_RETA", &[GET_RETA])? else { return Ok(None) };
        let mut table = [0; 128];
        for (entries, word) in table.as_chunks_mut::<16>().0.iter_mut().zip(answer.iter().skip(1)) {
            for (at, entry) in entries.iter_mut().enumerate() {
                *entry = (word >> (2 * at) & 3) as u8;
            }
        }
        Ok(Some(table))
    }
}

/// An address as messages have it: as RAL and RAH do.
fn address_words(mac: MacAddr) -> [u32; 2] {
    let (low, high) = mac_to_registers(mac);
    [low, high & Rah::ADDRESS.bits()]
}

/// The hash of a multicast address: 12 of its last 16 bits, chosen as by MCSTCTRL.MO (8.2.3.7.3).
fn hash(MacAddr([.., e, f]): MacAddr, offset: u32) -> u32 {
    let upper = u32::from(f) << 8 | u32::from(e);
    let shift = match offset {
        0 => 4,
        1 => 3,
        2 => 2,
        _ => 0,
    };
    upper >> shift & 0xfff
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_hash_of_each_offset_is_the_datasheets_example() {
        // Address 01:aa:00:12:34:56 (8.2.3.7.3).
        let mac = MacAddr([0x01, 0xaa, 0x00, 0x12, 0x34, 0x56]);
        assert_eq!([0, 1, 2, 3].map(|offset| hash(mac, offset)), [0x563, 0xac6, 0x58d, 0x634]);
    }

    #[test]
    fn versions_have_the_numbers_of_the_wire() {
        let names: alloc::vec::Vec<_> = Api::WANTED.iter().chain([&Api::V1_0]).map(ToString::to_string).collect();
        assert_eq!(names, ["1.7", "1.6", "1.4", "1.3", "1.2", "1.1", "1.0"]);
        assert!(Api::WANTED.is_sorted_by(|newer, older| newer > older));
    }
}
