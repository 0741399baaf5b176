//! Which frames come in (5.1.6.5.1 to 5.1.6.5.3), as QEMU's card has it: it is promiscuous until it is told not to be, and then looks at neither addresses nor VLANs.

/// The modes of class VIRTIO_NET_CTRL_RX.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Modes {
    pub(super) promiscuous: bool,
    pub(super) all_multicast: bool,
    pub(super) all_unicast: bool,
    pub(super) no_multicast: bool,
    pub(super) no_unicast: bool,
    pub(super) no_broadcast: bool,
}

/// The filters.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) modes: Modes,
    pub(super) unicast: Vec<[u8; 6]>,
    pub(super) multicast: Vec<[u8; 6]>,
    /// There were too many addresses of the kind: all of it come in.
    pub(super) overflow_unicast: bool,
    /// See `overflow_unicast`.
    pub(super) overflow_multicast: bool,
    /// VLANs whose frames come in; `None`: of all, since VIRTIO_NET_F_CTRL_VLAN was not negotiated.
    pub(super) vlans: Option<Box<[bool; 4096]>>,
}

impl Filter {
    pub(super) fn new() -> Self {
        let modes = Modes { promiscuous: true, ..Modes::default() };
        Self { modes, unicast: Vec::new(), multicast: Vec::new(), overflow_unicast: false, overflow_multicast: false, vlans: None }
    }

    /// Whether a frame is for this card, whose address is `mac`.
    pub(super) fn takes(&self, frame: &[u8], mac: [u8; 6]) -> bool {
        let modes = self.modes;
        if modes.promiscuous {
            return true;
        }
        if let (Some(vlans), Some(&[0x81, 0x00, high, low])) = (&self.vlans, frame.get(12..16).and_then(|bytes| bytes.first_chunk()))
            && !vlans[usize::from(u16::from_be_bytes([high, low]) & 0xfff)]
        {
            return false;
        }
        let Some(&to) = frame.first_chunk::<6>() else { return false };
        if to == [0xff; 6] {
            !modes.no_broadcast
        } else if to[0] & 1 != 0 {
            !modes.no_multicast && (modes.all_multicast || self.overflow_multicast || self.multicast.contains(&to))
        } else {
            !modes.no_unicast && (modes.all_unicast || self.overflow_unicast || to == mac || self.unicast.contains(&to))
        }
    }
}
