//! The VLAN filter lets frames of the VLANs that are asked for in, untagged ones always, and every VLAN where it is off.

use crate::common::{Card, I82599, X540, X550};
use crate::flows::{UDP, config, ip, landed, v4};
use driver_core::device::{Caps, NetDevice};

#[test]
fn ids_come_and_go_while_the_card_runs() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config());
        assert!(started.control.info().used_caps.contains(Caps::VLAN_FILTERS));
        let every = [0u16, 1, 31, 32, 100, 4094, 4095];
        for ids in [None, Some(&[1, 32, 4095][..]), Some(&[31]), Some(&[]), Some(&every), None] {
            started.control.set_vlan_filter(ids).unwrap();
            assert_eq!(started.control.settings().vlans(), ids);
            let flow = ip(v4(1), v4(2), UDP, (1, 2));
            assert_eq!(landed(&card, &mut started, &flow), Some(0), "untagged");
            for id in every {
                let wanted = ids.is_none_or(|ids| ids.contains(&id)).then_some(0);
                assert_eq!(landed(&card, &mut started, &flow.tagged(id, 5)), wanted, "VLAN {id} of {ids:?}");
            }
        }
        card.assert_no_violations();
    }
}

#[test]
fn an_id_of_more_than_12_bits_is_refused() {
    let card = Card::new();
    let mut started = card.start(&config().vlan_filter(&[5]));
    let error = started.control.set_vlan_filter(Some(&[1, 4096])).unwrap_err().to_string();
    assert!(error.contains("setting its VLAN filter: the rule makes no sense: a VLAN id is between 0 and 4095"), "{error}");
    assert_eq!(started.control.settings().vlans(), Some(&[5][..]));
    assert_eq!(landed(&card, &mut started, &ip(v4(1), v4(2), UDP, (1, 2)).tagged(5, 0)), Some(0));
    card.assert_no_violations();
}
