//! Statistics of the simulated virtio card (VIRTIO_NET_F_DEVICE_STATS, virtio 1.4, 5.1.6.5.11) by a driver of a few lines.

use crate::commands::*;

/// VIRTIO_NET_CTRL_STATS_QUERY.
const QUERY: [u8; 2] = [8, 0];
/// What the card has: four kinds of each direction, and those of the control queue.
const ALL: u64 = 0xf | 0xf << 16 | 1 << 32;

/// VIRTIO_NET_CTRL_STATS_GET of types of queues.
fn get(wanted: &[(u16, u64)]) -> Vec<u8> {
    let mut command = vec![8, 1];
    for (queue, types) in wanted {
        command.extend(queue.to_le_bytes());
        command.extend([0; 6]);
        command.extend(types.to_le_bytes());
    }
    command
}

/// The answer: type and queue of each structure, and its counters.
fn told(card: &mut Card, wanted: &[(u16, u64)]) -> Vec<(u8, u16, Vec<u64>)> {
    let (answer, used) = card.exchange(&get(wanted), 1000);
    assert_eq!(answer[0], OK);
    let mut rest = &answer[1..used as usize];
    let mut all = Vec::new();
    while let Some((header, behind)) = rest.split_at_checked(8) {
        let size = usize::from(u16::from_le_bytes([header[6], header[7]]));
        let (counters, next) = behind.split_at(size - 8);
        let counters = counters.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect();
        all.push((header[0], u16::from_le_bytes([header[2], header[3]]), counters));
        rest = next;
    }
    assert!(rest.is_empty());
    all
}

#[test]
fn it_tells_what_it_counts() {
    let mut card = Card::up(DEVICE_STATS, 1);
    let (answer, used) = card.exchange(&QUERY, 9);
    assert_eq!((answer[0], u64::from_le_bytes(answer[1..].try_into().unwrap()), used), (OK, ALL, 9));
    (0..3).for_each(|_| assert!(card.comes_in(MAC, None)));
    let seen = told(&mut card, &[(0, 1), (1, 1 << 16), (2, 1 << 32)]);
    // Notifications: of the buffers, and none since. Interrupts: the driver of this test wants one for each frame.
    assert_eq!(seen, [(0, 0, vec![1, 3, 3 * 64, 3, 0, 0]), (16, 1, vec![0; 6]), (32, 2, vec![2, 2])]);
    assert_eq!(told(&mut card, &[(2, 1 << 32)]), [(32, 2, vec![3, 3])]);
    assert_eq!(told(&mut card, &[(0, 8)]), [(3, 0, vec![0; 2])]);
    // Those that find no buffer.
    (0..SIZE).for_each(|_| _ = card.comes_in(MAC, None));
    assert_eq!(told(&mut card, &[(0, 1)])[0].2, [1, u64::from(SIZE), 64 * u64::from(SIZE), u64::from(SIZE), 3, 3]);
    assert_eq!(card.whats(), [""; 0]);
}

#[test]
fn it_fills_no_more_than_there_is_room_for() {
    let mut card = Card::up(DEVICE_STATS, 1);
    for room in [1, 5, 9, 30, 57] {
        let (answer, used) = card.exchange(&get(&[(0, 1)]), room);
        assert_eq!((answer[0], used as usize), (OK, room));
    }
    let (answer, used) = card.exchange(&get(&[(0, 1)]), 60);
    assert_eq!((used, &answer[57..]), (57, &[0xee; 3][..]));
    assert_eq!(card.whats(), [""; 0]);
}

#[test]
fn what_is_wrong_fails_the_whole_command() {
    let mut card = Card::up(DEVICE_STATS | GUEST_CSUM, 1);
    assert_eq!(told(&mut card, &[(0, 3)]).len(), 2);
    for (wanted, what) in [
        (&[(3, 1)][..], "statistics of a queue that there is not"),
        (&[(0, 1 << 16)], "statistics that there are not, or not of that queue"),
        (&[(1, 1)], "statistics that there are not, or not of that queue"),
        (&[(2, 1)], "statistics that there are not, or not of that queue"),
        (&[(0, 1 << 32)], "statistics that there are not, or not of that queue"),
        (&[(0, 1), (0, 1 << 5)], "statistics that there are not, or not of that queue"),
        (&[(0, 5)], "statistics whose feature was not negotiated"),
        (&[(1, 1 << 17)], "statistics whose feature was not negotiated"),
    ] {
        let (answer, used) = card.exchange(&get(wanted), 200);
        assert_eq!((answer[0], used), (ERR, 1), "{wanted:?}");
        assert_eq!(card.whats(), [what], "{wanted:?}");
    }
    assert_eq!(card.exchange(&get(&[(0, 1)])[..17], 200).0[0], ERR);
    assert_eq!(card.whats(), ["a command is too short"]);
    let mut without = Card::up(0, 1);
    assert_eq!(without.refused(&QUERY), "a command whose feature was not negotiated");
}
