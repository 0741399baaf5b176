//! Speeds that are offered, what the partner offers, and what comes of it.

use crate::common::{Card, I82599, MAC, Started, X540, X550, frame, received};
use driver_core::device::{Config, ErrorKind, LinkDown, LinkReport, LinkSpeeds, NetDevice};
use sim::ixgbe::{IxgbeOptions, Speeds};

fn card(device: u16, partner: Speeds) -> Card {
    Card::with(IxgbeOptions::new().device(device).partner(partner))
}

fn report(card: &Card, started: &mut Started) -> LinkReport {
    card.run_us(2_000);
    started.control.link_report().unwrap()
}

#[test]
fn the_fastest_speed_that_both_offer_is_the_links() {
    let all = LinkSpeeds::all();
    for (device, offered, partner, mbps) in [
        (X540, all - LinkSpeeds::G2_5 - LinkSpeeds::G5, Speeds::all(), 10_000),
        (X540, LinkSpeeds::G1 | LinkSpeeds::M100, Speeds::all(), 1_000),
        (X540, LinkSpeeds::G1 | LinkSpeeds::G10, Speeds::G1 | Speeds::M100, 1_000),
        (X540, LinkSpeeds::M100, Speeds::all(), 100),
        (X550, all, Speeds::all(), 10_000),
        (X550, all - LinkSpeeds::G10, Speeds::all(), 5_000),
        (X550, all, Speeds::G2_5 | Speeds::G1, 2_500),
        (X550, LinkSpeeds::G1, Speeds::all(), 1_000),
        (X550, all, Speeds::M100, 100),
    ] {
        let card = card(device, partner);
        let mut started = card.start(&Config::new().link_speeds(offered));
        let found = report(&card, &mut started);
        assert_eq!((found.link.up, found.link.speed_mbps, found.why_down), (true, Some(mbps), None), "{device:04x} {offered}");
        let negotiation = found.negotiation.unwrap();
        assert_eq!((negotiation.offered, negotiation.partner.bits(), negotiation.is_complete), (offered, partner.bits().into(), true));
        card.send(&frame(MAC, 300, 1));
        assert_eq!(received(&mut started.rx[0]), [frame(MAC, 300, 1)]);
        card.assert_no_violations();
    }
}

#[test]
fn other_speeds_are_offered_while_it_runs() {
    let card = card(X550, Speeds::all());
    let mut started = card.start(&Config::new());
    assert_eq!(report(&card, &mut started).link.speed_mbps, Some(10_000));
    started.control.set_link_speeds(LinkSpeeds::G2_5 | LinkSpeeds::G1).unwrap();
    assert!(!started.control.link().up, "it is negotiated anew");
    let found = report(&card, &mut started);
    assert_eq!(found.link.speed_mbps, Some(2_500));
    assert_eq!(
        (found.negotiation.unwrap().offered, started.control.settings().link_speeds()),
        (LinkSpeeds::G2_5 | LinkSpeeds::G1, LinkSpeeds::G2_5 | LinkSpeeds::G1)
    );
    card.assert_no_violations();
}

#[test]
fn speeds_without_one_in_common_are_told() {
    let card = card(X540, Speeds::M100 | Speeds::G1);
    let mut started = card.start(&Config::new().link_speeds(LinkSpeeds::G10));
    let found = report(&card, &mut started);
    assert_eq!((found.link.up, found.why_down), (false, Some(LinkDown::NoCommonSpeed)));
    let negotiation = found.negotiation.unwrap();
    assert_eq!((negotiation.offered, negotiation.partner, negotiation.is_complete), (LinkSpeeds::G10, LinkSpeeds::M100 | LinkSpeeds::G1, false));
    started.control.set_link_speeds(LinkSpeeds::G10 | LinkSpeeds::G1).unwrap();
    assert_eq!(report(&card, &mut started).link.speed_mbps, Some(1_000));
    card.assert_no_violations();
}

/// What the card has not is left out, where something is left; and no driver decides for a module.
#[test]
fn speeds_that_the_card_has_not_are_left_out_or_refused() {
    let x540 = Card::of(X540);
    let mut started = x540.start(&Config::new().link_speeds(LinkSpeeds::G5 | LinkSpeeds::G1));
    assert_eq!(started.control.settings().link_speeds(), LinkSpeeds::G1);
    let text = started.control.set_link_speeds(LinkSpeeds::G5).unwrap_err().to_string();
    assert_eq!(
        text,
        "sim:ixgbe: setting the speeds that it offers: 5G asked for as speeds to offer, and the device has 100M+1G+10G: take some of these"
    );
    assert_eq!(started.control.settings().link_speeds(), LinkSpeeds::G1);
    let (error, _) = crate::common::refused(Card::of(X540).open().unwrap().start(&Config::new().link_speeds(LinkSpeeds::G2_5)));
    assert!(error.to_string().contains("2.5G asked for as speeds to offer"), "{error}");

    let card = Card::of(I82599);
    let mut started = card.start(&Config::new().link_speeds(LinkSpeeds::G1));
    assert!(started.control.link().up && started.control.info().link_speeds.is_empty());
    let error = started.control.set_link_speeds(LinkSpeeds::G1).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
}
