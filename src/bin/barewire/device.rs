//! `barewire info` and `barewire stats`: what a started device says of itself.

use std::fmt::Write;
use std::time::{Duration, Instant};

use barewire::driver_core::device::{LinkDown, LinkSpeeds, RssLimits, Temperature};
use barewire::{Batch, Config, DeviceInfo, Error, Port};
use serde_json::{Map, Value, json};

use crate::output::Report;

/// How often the link is looked at.
const LINK_EVERY: Duration = Duration::from_millis(10);
/// Names take at least so many columns, so that tables of one command look alike.
const MIN_NAME_COLUMNS: usize = 18;
/// Pause between two looks at an idle queue.
const IDLE: Duration = Duration::from_micros(50);
/// How often the device's own events are looked at.
const EVENTS_EVERY: Duration = Duration::from_millis(100);

/// What the driver reports about the device.
pub(crate) fn info(spec: &str, wait_seconds: f64, speeds: Option<LinkSpeeds>) -> Result<Report, Error> {
    let config = speeds.map_or_else(Config::new, |speeds| Config::new().link_speeds(speeds));
    let mut port = barewire::open(spec)?.start(&config)?;
    let end = Instant::now() + Duration::from_secs_f64(wait_seconds);
    let mut link = port.control.link();
    while !link.up && Instant::now() < end {
        check(&mut port)?;
        std::thread::sleep(LINK_EVERY);
        link = port.control.link();
    }
    let report = port.control.link_report()?;
    let temperatures = port.control.temperatures()?;
    let (mac, mtu, info) = (port.control.mac(), port.control.mtu(), port.control.info().clone());
    // A device may have cut them.
    let (rx_ring, tx_ring) = (port.control.settings().rx().ring_len(), port.control.settings().tx().ring_len());
    port.finish().check()?;
    let (smallest, largest) = (info.ring_limits.start(), info.ring_limits.end());
    let (caps, unused_caps): (Vec<_>, Vec<_>) = (info.used_caps.names().collect(), info.unused_caps().names().collect());
    let software: Vec<_> = info.software_caps().names().collect();
    let lines = [
        ("device", info.name.clone()),
        ("driver", info.driver.into()),
        ("model", info.model.clone()),
        ("address", mac.to_string()),
        ("permanent address", info.permanent_mac.to_string()),
        ("link", report.to_string()),
        ("temperature", joined(&temperatures.iter().map(warmth).collect::<Vec<_>>())),
        ("MTU", format!("{mtu} bytes, at most {}", info.max_mtu)),
        ("receive queues", format!("at most {}", info.max_rx_queues)),
        ("transmit queues", format!("at most {}", info.max_tx_queues)),
        ("spreads flows", spread(&info)),
        ("rings", format!("{rx_ring} descriptors to receive, {tx_ring} to send; {smallest} to {largest} can be asked for")),
        ("capabilities", joined(&caps)),
        ("done in software", joined(&software)),
        ("not in use", joined(&unused_caps)),
        ("features in use", joined(&info.features)),
        ("not used", joined(&info.unused_features)),
    ];
    let json = json!({
        "device": info.name,
        "driver": info.driver,
        "model": info.model,
        "mac": mac.to_string(),
        "permanent_mac": info.permanent_mac.to_string(),
        "link": { "up": link.up, "speed_mbps": link.speed_mbps, "full_duplex": link.full_duplex },
        "link_down": report.why_down.map(LinkDown::name),
        "negotiation": report.negotiation.map(|found| json!({ "offered": found.offered.to_string(), "partner": found.partner.to_string(), "complete": found.is_complete })),
        "temperatures": temperatures.iter().map(|sensor| json!({ "name": sensor.name, "millicelsius": sensor.millicelsius, "limit_millicelsius": sensor.limit_millicelsius })).collect::<Vec<_>>(),
        "mtu": mtu,
        "max_mtu": info.max_mtu,
        "max_rx_queues": info.max_rx_queues,
        "max_tx_queues": info.max_tx_queues,
        "rss": { "queues": info.rss.queues, "table_len": info.rss.table_len, "types": info.rss.types.names().collect::<Vec<_>>() },
        "rx_ring": rx_ring,
        "tx_ring": tx_ring,
        "ring_limits": [smallest, largest],
        "capabilities": caps,
        "software_capabilities": software,
        "unused_capabilities": unused_caps,
        "features": info.features,
        "unused_features": info.unused_features,
    });
    Ok(Report::good(two_columns(lines), json))
}

/// A sensor's word.
fn warmth(sensor: &Temperature) -> String {
    let limit = sensor.limit_millicelsius.map_or(String::new(), |limit| format!(" of {} C", limit / 1000));
    format!("{} {} C{limit}{}", sensor.name, sensor.millicelsius / 1000, if sensor.is_too_high() { ", too hot" } else { "" })
}

/// How far it spreads flows over its receive queues.
fn spread(info: &DeviceInfo) -> String {
    let RssLimits { queues, table_len, types, .. } = info.rss;
    match queues {
        0 | 1 => "no".into(),
        _ => format!("over {queues} receive queues, by a table of {table_len} entries and a hash of {}", joined(&types.names().collect::<Vec<_>>())),
    }
}

/// The counters of a device that only receives.
pub(crate) fn stats(spec: &str, seconds: f64, all: bool) -> Result<Report, Error> {
    let mut port = barewire::open(spec)?.start(&Config::new())?;
    receive(&mut port, Duration::from_secs_f64(seconds))?;
    let (name, stats) = (port.name().to_owned(), port.control.stats());
    let xstats = if all { port.xstats() } else { Vec::new() };
    port.finish().check()?;
    let counters: Map<String, Value> = stats.entries().map(|(counter, value)| (counter.into(), value.into())).collect();
    let mut text = two_columns(stats.entries().map(|(counter, value)| (counter, value.map_or("unknown".into(), |value| value.to_string()))));
    let mut json = json!({ "device": name, "seconds": seconds, "stats": counters });
    if all {
        text.push('\n');
        text += &two_columns(xstats.iter().map(|xstat| (&*xstat.name, xstat.value.to_string())));
        json["xstats"] = xstats.into_iter().map(|xstat| (xstat.name.into_owned(), xstat.value.into())).collect::<Map<_, _>>().into();
    }
    Ok(Report::good(text, json))
}

/// Empties the receive queues, so that the device does not run out of buffers.
fn receive(port: &mut Port, duration: Duration) -> Result<(), Error> {
    let start = Instant::now();
    let (mut batch, mut events_due) = (Batch::new(64), start);
    while start.elapsed() < duration {
        if Instant::now() >= events_due {
            events_due += EVENTS_EVERY;
            check(port)?;
        }
        let mut received = 0;
        for queue in &mut port.rx {
            received += queue.poll(&mut batch, usize::MAX);
            batch.clear();
            if let Some(fault) = queue.fault() {
                return Err(Error::Queue { device: port.control.info().name.clone(), fault });
            }
        }
        if received == 0 {
            std::thread::sleep(IDLE);
        }
    }
    Ok(())
}

/// Whether the device is still there.
fn check(port: &mut Port) -> Result<(), Error> {
    port.failure().map_or(Ok(()), Err)
}

/// Names in a line.
fn joined<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn two_columns<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines: Vec<_> = lines.into_iter().collect();
    let width = lines.iter().map(|(name, _)| name.len()).fold(MIN_NAME_COLUMNS, usize::max);
    lines.into_iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:width$}  {value}");
        text
    })
}
