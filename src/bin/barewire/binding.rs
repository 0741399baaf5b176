//! `barewire bind` and `barewire unbind`.

use barewire::Error;
use barewire::vfio::PciAddress;
use barewire::vfio::sysfs::Root;
use barewire::vfio::sysfs::bind::{self, BindOptions};
use barewire::vfio::sysfs::diagnose;
use serde_json::json;

use crate::output::Report;

/// Gives the function to vfio-pci.
pub(crate) fn bind(root: &Root, address: PciAddress, user: Option<String>, force: bool) -> Result<Report, Error> {
    let mut options = BindOptions::default();
    (options.force, options.user) = (force, user);
    let bound = bind::bind(root, address, &options)?;
    let nodes: Vec<_> = bound.nodes.iter().map(|node| node.display().to_string()).collect();
    let driver = root.driver(address);
    let mut text = format!("{address}: bound to {}", driver.as_deref().unwrap_or("no driver"));
    if let Some(former) = &bound.former {
        text += &format!(", was {former}");
    }
    if !nodes.is_empty() {
        text += &format!("; reached by {}", nodes.join(" and "));
    }
    text.push('\n');
    // Not in the way of binding, but of opening.
    if let Some(cause) = diagnose::group_viable(root, address) {
        eprintln!("warning: {cause}. To mend it: {}", cause.remedy());
    }
    Ok(Report::good(text, json!({ "address": address.to_string(), "driver": driver, "former": bound.former, "nodes": nodes })))
}

/// Gives it back.
pub(crate) fn unbind(root: &Root, address: PciAddress) -> Result<Report, Error> {
    let before = root.driver(address);
    let driver = bind::unbind(root, address)?;
    let text = match &driver {
        _ if driver == before => format!("{address}: not bound to VFIO; its driver is {}\n", driver.as_deref().unwrap_or("none")),
        Some(driver) => format!("{address}: back with {driver}\n"),
        None => format!("{address}: no driver wants it\n"),
    };
    Ok(Report::good(text, json!({ "address": address.to_string(), "driver": driver, "former": before })))
}
