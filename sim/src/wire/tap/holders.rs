//! Which processes hold a tap device, as far as procfs shows it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Processes that hold a tap device of some name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holders {
    own: bool,
    others: Vec<Holder>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    pid: u32,
    command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.command)
    }
}

/// Who holds the tap device `name`. Only processes of the same user are seen, unless root looks.
pub(super) fn holders(name: &str) -> Holders {
    look(Path::new("/proc"), std::process::id(), name)
}

/// The kernel names the device in the information on each descriptor of the tun driver (`tun_chr_show_fdinfo`), without its network namespace: of processes
/// in several of them, those in that of this thread are meant.
fn look(proc: &Path, own_pid: u32, name: &str) -> Holders {
    let line = format!("iff:\t{name}");
    let mine = fs::read_link(proc.join("thread-self/ns/net")).ok();
    let mut found: Vec<(bool, Holder)> = Vec::new();
    for (pid, process) in processes(proc) {
        let infos = fs::read_dir(process.join("fdinfo")).into_iter().flatten().flatten();
        if infos.filter_map(|info| fs::read_to_string(info.path()).ok()).any(|info| info.lines().any(|have| have == line)) {
            let command = fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
            let is_here = pid == own_pid || fs::read_link(process.join("ns/net")).ok() == mine;
            found.push((is_here, Holder { pid, command }));
        }
    }
    let is_any_here = found.iter().any(|(is_here, _)| *is_here);
    let mut all: Vec<_> = found.into_iter().filter(|(is_here, _)| *is_here || !is_any_here).map(|(_, holder)| holder).collect();
    all.sort();
    let own = all.iter().any(|holder| holder.pid == own_pid);
    all.retain(|holder| holder.pid != own_pid);
    Holders { own, others: all }
}

fn processes(proc: &Path) -> impl Iterator<Item = (u32, PathBuf)> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

impl Holders {
    /// What to do about a device that is in use.
    pub(super) fn remedy(&self, name: &str) -> String {
        if self.own {
            return "this process itself uses it: give each wire a tap device of its own".into();
        }
        let others: Vec<_> = self.others.iter().map(ToString::to_string).collect();
        match others.as_slice() {
            [] => format!(
                "a process that cannot be seen from here uses it ('sudo grep -lw {name} /proc/[0-9]*/fdinfo/*' names it): end that one, or take another name"
            ),
            [one] => format!("process {one} uses it: end that one, or take another name"),
            many => format!("processes {} use it: end them, or take another name", many.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A procfs in which processes hold descriptors: pid, command, network namespace, and the device of one descriptor.
    struct Proc(PathBuf);

    impl Proc {
        fn new(test: &str, processes: &[(u32, &str, &str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("barewire-holders-{test}-{}", std::process::id()));
            fs::create_dir_all(root.join("thread-self/ns")).unwrap();
            symlink("net:[1]", root.join("thread-self/ns/net")).unwrap();
            for (pid, command, namespace, device) in processes {
                let process = root.join(pid.to_string());
                fs::create_dir_all(process.join("fdinfo")).unwrap();
                fs::create_dir_all(process.join("ns")).unwrap();
                symlink(namespace, process.join("ns/net")).unwrap();
                fs::write(process.join("comm"), format!("{command}\n")).unwrap();
                fs::write(process.join("fdinfo/0"), "pos:\t0\nflags:\t0100000\n").unwrap();
                fs::write(process.join("fdinfo/7"), format!("pos:\t0\nflags:\t0104002\nmnt_id:\t25\niff:\t{device}\n")).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Proc {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn who_holds_a_device_is_named() {
        let proc =
            Proc::new("named", &[(17, "qemu-system-x86", "net:[1]", "tap0"), (9, "forward", "net:[1]", "tap0"), (8, "respond", "net:[1]", "tap00")]);
        let remedy = |own, name| look(&proc.0, own, name).remedy(name);
        assert_eq!(remedy(1, "tap0"), "processes 9 (forward), 17 (qemu-system-x86) use it: end them, or take another name");
        assert_eq!(remedy(1, "tap00"), "process 8 (respond) uses it: end that one, or take another name");
        assert_eq!(remedy(8, "tap00"), "this process itself uses it: give each wire a tap device of its own");
        assert!(remedy(1, "tap").starts_with("a process that cannot be seen from here uses it ('sudo grep -lw tap "));
    }

    #[test]
    fn of_devices_of_one_name_that_of_this_network_namespace_is_meant() {
        let proc = Proc::new("spaces", &[(17, "there", "net:[2]", "tap0"), (9, "here", "net:[1]", "tap0"), (5, "far", "net:[3]", "tap1")]);
        assert_eq!(look(&proc.0, 1, "tap0").remedy("tap0"), "process 9 (here) uses it: end that one, or take another name");
        // A process may have left the namespace after it opened the device.
        assert_eq!(look(&proc.0, 1, "tap1").remedy("tap1"), "process 5 (far) uses it: end that one, or take another name");
    }
}
