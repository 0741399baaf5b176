//! `barewire sim`: a simulated card behind a vfio-user socket.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use barewire::driver_core::host::Clock;
use barewire::sim::HostClock;
use barewire::sim::vfio_user::{ServeError, Server};
use barewire::sim::wire::WireError;
use barewire::sim::wire::spec::WireSpec;
use barewire::spec::SimSpec;
use barewire::{Error, Spec, SpecError};
use serde_json::json;

use crate::commands;
use crate::output::Report;

/// Serves the card `device`, plugged into `wire`, at `socket` until the process is told to end.
pub(crate) fn sim(device: &str, socket: &Path, wire: &str, quiet: bool) -> Result<Report, Error> {
    let name = format!("sim:{device}");
    let spec = match name.parse()? {
        Spec::Sim(spec) if spec.wire == WireSpec::default() => spec,
        _ => return Err(SpecError::new(device, "what the card is plugged into stands behind --wire").into()),
    };
    if spec.run.is_some() {
        return Err(SpecError::new(device, "run= is for cards of a program: one that is served moves by itself; leave it away").into());
    }
    let wire: WireSpec = wire.parse().map_err(|error: WireError| SpecError::new("--wire", error.to_string()))?;
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let wire = wire.open(&clock).map_err(|error| Error::Wire { device: name.clone(), error })?;
    let mut server = Server::bind(socket, spec.model(SimSpec::fresh_mac()), wire).map_err(Error::Serve)?;
    let stopper = server.stopper();
    let refused = |tried, cause| Error::Serve(ServeError::Socket { tried, path: socket.into(), cause });
    ctrlc::set_handler(move || stopper.stop()).map_err(|error| refused("wait for signals", system(error)))?;
    if !quiet {
        println!(
            "{name} at {0}; QEMU: -device '{{\"driver\":\"vfio-user-pci\",\"socket\":{{\"path\":\"{0}\",\"type\":\"unix\"}}}}'",
            socket.display()
        );
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            println!("{}", commands::HELP);
        }
    }
    commands::obey_standard_input(server.cable(), server.mishaps(), quiet).map_err(|cause| refused("read commands", cause))?;
    server.run().map_err(Error::Serve)?;
    let (clients, violations) = (server.clients(), server.violations());
    let list: Vec<_> = violations.to_vec().iter().map(ToString::to_string).collect();
    let mut text = format!("{clients} client(s); what the datasheet forbids was done {} time(s)\n", violations.total());
    list.iter().for_each(|violation| text += &format!("{violation}\n"));
    let json = json!({ "device": name, "clients": clients, "violations": violations.total(), "first_violations": list });
    Ok(Report { text, json, good: violations.total() == 0 })
}

fn system(error: ctrlc::Error) -> io::Error {
    if let ctrlc::Error::System(cause) = error { cause } else { io::Error::other(error) }
}
