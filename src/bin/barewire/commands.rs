//! What `barewire sim` takes from standard input while it serves a card.

use std::io::{self, BufRead, IsTerminal, Stdin, Write};
use std::time::Duration;

use barewire::sim::Mishap;
use barewire::sim::vfio_user::{Cable, Mishaps};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

/// The commands, as `help` lists them.
pub(crate) const HELP: &str = "commands on standard input: `link down` pulls the card's cable, `link up` plugs it in, \
    `mishap hang|needs-reset|lie|vanish|memory-error|bus-error|overheat|pf-reset|moved` lets that happen to the card, `help` lists the commands";

/// How often a process in the background looks whether it came to the front.
const BACKGROUND_SLEEP: Duration = Duration::from_millis(200);

/// Obeys one line after the other on a thread of its own. The end of standard input ends the thread and nothing else.
///
/// # Errors
/// The process may start no thread.
pub(crate) fn obey_standard_input(cable: Cable, mishaps: Mishaps, quiet: bool) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("commands".into());
    let started = thread.spawn(move || {
        let stdin = std::io::stdin();
        loop {
            wait_for_a_line(&stdin);
            let mut line = Vec::new();
            if !stdin.lock().read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                return;
            }
            obey(&String::from_utf8_lossy(&line), &cable, &mishaps, quiet);
        }
    });
    started.map(drop)
}

/// Waits until a terminal has a line for this process: a job in the background that reads is stopped, and its card with it.
fn wait_for_a_line(stdin: &Stdin) {
    if !stdin.is_terminal() {
        return;
    }
    loop {
        // A failed poll is an early look.
        let _ = poll(&mut [PollFd::new(stdin, PollFlags::IN)], None);
        if tcgetpgrp(stdin).ok().is_none_or(|foreground| foreground == getpgrp()) {
            return;
        }
        std::thread::sleep(BACKGROUND_SLEEP);
    }
}

fn obey(line: &str, cable: &Cable, mishaps: &Mishaps, quiet: bool) {
    let words: Vec<_> = line.split_whitespace().collect();
    if let ["mishap", word] = words[..]
        && let Some(mishap) = Mishap::of(word)
    {
        return mishaps.happen(mishap);
    }
    match words[..] {
        [] => {}
        ["link", "down"] => cable.pull(),
        ["link", "up"] => cable.plug_in(),
        // Either may be closed, and where standard output is to be JSON nothing else goes there.
        ["help"] if !quiet => _ = writeln!(std::io::stdout(), "{HELP}"),
        ["help"] => _ = writeln!(std::io::stderr(), "{HELP}"),
        _ => _ = writeln!(std::io::stderr(), "unknown command {:?}; {HELP}", line.trim()),
    }
}
