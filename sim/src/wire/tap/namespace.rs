//! Another network namespace, entered by a thread of its own.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::{Builder, scope};

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::wire::WireError;

/// Where iproute2 keeps the namespaces that it made.
const NAMED: &str = "/run/netns";

/// What `act` gives in the network namespace `netns`: a name of `ip netns`, or a path. It runs on a thread of its own, which ends in that namespace, so that
/// no other thread of this process ever is there.
pub(super) fn inside<T: Send>(netns: &str, act: impl FnOnce() -> Result<T, WireError> + Send) -> Result<T, WireError> {
    let path = if netns.contains('/') { PathBuf::from(netns) } else { Path::new(NAMED).join(netns) };
    let there = "'ip netns list' shows those that there are, 'sudo ip netns add NAME' makes one; a path like /proc/PID/ns/net will do, too";
    let namespace = File::open(&path).map_err(|e| WireError::system("open the network namespace", &path, &e, there))?;
    let enter = || {
        let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
        entered.map_err(|e| WireError::system("enter the network namespace", &path, &e.into(), enter_remedy(e)))?;
        act()
    };
    scope(|scope| {
        let thread = Builder::new().name("netns".into()).spawn_scoped(scope, enter);
        let refused =
            |e| WireError::system("start a thread that enters the network namespace", &path, &e, "raise the limit of processes (ulimit -u)");
        thread.map_err(refused)?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn enter_remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM => "it needs CAP_SYS_ADMIN: run this program as root, or in that namespace: 'sudo ip netns exec NAME PROGRAM'",
        Errno::INVAL => "that is no network namespace: give a name of 'ip netns list', or a path like /proc/PID/ns/net",
        _ => "",
    }
}
