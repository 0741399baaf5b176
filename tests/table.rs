//! The table of rates stays in place on a terminal, however narrow.

mod common;

use std::io::Read;
use std::process::Stdio;

use common::example;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What `forward` prints within a bit more than three seconds on a terminal with so many columns.
fn printed(columns: u16) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let side = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    tcsetwinsize(&side, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut child = example("forward").args(["--seconds", "3.3"]).stdout(Stdio::from(side)).spawn().unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let mut terminal = std::fs::File::from(terminal);
    // A terminal whose other side is closed gives an error.
    while let Ok(len @ 1..) = terminal.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..len]);
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    String::from_utf8(bytes).unwrap()
}

/// What is on the terminal in the end: rows that are full break, and the cursor goes up and erases as it is told.
fn screen(printed: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut at) = (vec![String::new()], 0);
    let mut rest = printed;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\x1b[1A\x1b[2K") {
            at -= 1;
            rows[at].clear();
            rest = after;
            continue;
        }
        rest = &rest[next.len_utf8()..];
        match next {
            '\r' => {}
            '\n' => at += 1,
            _ if rows[at].chars().count() == columns => {
                at += 1;
                rows.resize(rows.len().max(at + 1), String::new());
                rows[at].push(next);
            }
            _ => rows[at].push(next),
        }
        rows.resize(rows.len().max(at + 1), String::new());
    }
    rows
}

#[test]
fn the_table_does_not_pile_up() {
    for columns in [100, 80, 60, 30] {
        let printed = printed(columns);
        let rows = screen(&printed, columns.into());
        assert!(printed.matches("\x1b[2K").count() >= 6, "it was drawn anew: {printed:?}");
        let heads: Vec<_> = rows.iter().filter(|row| row.starts_with("port ")).collect();
        assert_eq!(heads.len(), 1, "one table at {columns} columns: {rows:#?}");
        assert!(heads[0].chars().count() < columns.into(), "{columns}: {heads:?}");
        if columns >= 80 {
            assert!(heads[0].ends_with(" drops"), "all of it: {heads:?}");
        }
    }
}
