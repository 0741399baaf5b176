//! Which of the offered features are taken: none without those that it requires (2.2.1).

use crate::regs::Features;

/// What a feature requires: one of these, or one of those. From 5.1.3.1 and, for HASH_REPORT and CTRL_RX_EXTRA, 5.1.4.2.
const REQUIRES: [(Features, Features); 25] = [
    (Features::GUEST_TSO4, Features::GUEST_CSUM),
    (Features::GUEST_TSO6, Features::GUEST_CSUM),
    (Features::GUEST_ECN, Features::GUEST_TSO4.union(Features::GUEST_TSO6)),
    (Features::GUEST_UFO, Features::GUEST_CSUM),
    (Features::GUEST_USO4, Features::GUEST_CSUM),
    (Features::GUEST_USO6, Features::GUEST_CSUM),
    (Features::HOST_TSO4, Features::CSUM),
    (Features::HOST_TSO6, Features::CSUM),
    (Features::HOST_ECN, Features::HOST_TSO4.union(Features::HOST_TSO6)),
    (Features::HOST_UFO, Features::CSUM),
    (Features::HOST_USO, Features::CSUM),
    (Features::CTRL_RX, Features::CTRL_VQ),
    (Features::CTRL_RX_EXTRA, Features::CTRL_VQ),
    (Features::CTRL_VLAN, Features::CTRL_VQ),
    (Features::CTRL_GUEST_OFFLOADS, Features::CTRL_VQ),
    (Features::GUEST_ANNOUNCE, Features::CTRL_VQ),
    (Features::GUEST_ANNOUNCE, Features::STATUS),
    (Features::MQ, Features::CTRL_VQ),
    (Features::CTRL_MAC_ADDR, Features::CTRL_VQ),
    (Features::RSC_EXT, Features::HOST_TSO4.union(Features::HOST_TSO6)),
    (Features::RSS, Features::CTRL_VQ),
    (Features::HASH_REPORT, Features::CTRL_VQ),
    (Features::NOTF_COAL, Features::CTRL_VQ),
    (Features::DEVICE_STATS, Features::CTRL_VQ),
    (Features::VQ_NOTF_COAL, Features::CTRL_VQ),
];

impl Features {
    /// These without those that lack what they require.
    pub(crate) fn with_what_they_require(self) -> Self {
        let mut taken = self;
        // One that goes may be what another one requires: as often as there are steps in the longest chain, and once more.
        for _ in 0..3 {
            for (feature, required) in REQUIRES {
                if !taken.intersects(required) {
                    taken.remove(feature);
                }
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_takes_along_what_stands_on_it() {
        let all = Features::CSUM | Features::HOST_TSO4 | Features::HOST_ECN | Features::RSC_EXT;
        assert_eq!(all.with_what_they_require(), all);
        assert_eq!((all - Features::CSUM).with_what_they_require(), Features::empty());
        let control = Features::CTRL_VQ | Features::CTRL_RX | Features::MQ | Features::MAC;
        assert_eq!(control.with_what_they_require(), control);
        assert_eq!((control - Features::CTRL_VQ).with_what_they_require(), Features::MAC);
    }
}
