//! Opens a PCI function by every way that the machine has, and prints what it finds: a look at the crate, and its test on a real system.
//!
//!     probe 0000:01:00.0 [iommufd|group|noiommu] [OTHER-ADDRESS]
//!
//! Without a way it tries iommufd and group; no-IOMMU mode is tried only by name. A second address is opened into the same domain.

use std::process::ExitCode;

use driver_core::host::{Bar, DmaRegion, Interrupt, PciFunction, RegSpace};
use vfio::{Domain, Error, PciAddress, VfioFunction, Way};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[String]) -> Result<bool, Failure> {
    let address: PciAddress = words.first().ok_or("usage: probe ADDRESS [iommufd|group|noiommu] [OTHER-ADDRESS]")?.parse()?;
    let ways = match words.get(1) {
        Some(way) => vec![way.parse::<Way>()?],
        None => vec![Way::Iommufd, Way::Group],
    };
    let other = words.get(2).map(|word| word.parse::<PciAddress>()).transpose()?;
    let mut good = true;
    for way in ways {
        println!("== {address} by {way}");
        if let Err(error) = probe(address, way, other) {
            println!("   {error}");
            good = false;
        }
    }
    Ok(good)
}

fn probe(address: PciAddress, way: Way, other: Option<PciAddress>) -> Result<(), Failure> {
    let domain = Domain::new(way)?;
    let mut function = domain.open(address)?;
    show_config(&function)?;
    show_bars(&mut function);
    show_interrupts(&mut function)?;
    show_memory(&function, &domain)?;
    let command = function.config_read(4, 2)?;
    // SAFETY: it was reset when it was opened, and nothing was written to its registers since.
    unsafe { function.allow_dma() }?;
    println!("   bus master on: command {command:#06x} -> {:#06x}", function.config_read(4, 2)?);
    match function.reset() {
        Ok(()) => println!("   reset: done, command {:#06x}", function.config_read(4, 2)?),
        Err(error) => println!("   reset: {error}"),
    }
    println!("   events: {:?}", function.pending_event());
    if let Some(other) = other {
        share(&domain, &function, other)?;
    }
    drop(function);
    // What was dropped can be opened again in the same domain.
    println!("   opened again: {}", domain.open(address)?.id()?);
    Ok(())
}

fn show_config(function: &VfioFunction) -> Result<(), Failure> {
    let id = function.id()?;
    println!(
        "   {} id {id} revision {:#04x} class {:#08x} subsystem {:04x}:{:04x}",
        function.name(),
        id.revision,
        id.class,
        id.subsystem_vendor,
        id.subsystem
    );
    for (name, capability) in [("power management", 0x01), ("MSI", 0x05), ("vendor", 0x09), ("PCI Express", 0x10), ("MSI-X", 0x11)] {
        if let Some(at) = function.find_capability(capability, None)? {
            println!("   capability {name} at {at:#04x}");
        }
    }
    Ok(())
}

fn show_bars(function: &mut VfioFunction) {
    for index in 0..6 {
        // SAFETY: nothing is written to it.
        match unsafe { function.open_bar(index) } {
            Ok(bar) => {
                println!("   BAR {index}: {:#x} bytes, {:#x} mapped, first word {:#010x}", bar.len_bytes(), bar.mapped_bytes(), bar.read32(0));
                let beyond = bar.read32(bar.len_bytes() as u32);
                println!(
                    "   BAR {index}: a read beyond the end gives {beyond:#x}, a doorbell there: {}",
                    bar.doorbell(bar.len_bytes() as u32).is_err()
                );
            }
            Err(error) => println!("   BAR {index}: {error}"),
        }
    }
}

fn show_interrupts(function: &mut VfioFunction) -> Result<(), Failure> {
    let count = function.interrupt_count();
    println!("   {count} interrupt vectors");
    if count > 0 {
        let mut vectors = function.enable_interrupts(count)?;
        let mut first = vectors.take(0).ok_or("no first vector, and no error")?;
        println!("   {count} turned on; after 1 ms the first fired {} times", first.wait(Some(1000))?);
        function.disable_interrupts()?;
        println!("   and on again: {}", function.enable_interrupts(1)?.left());
    }
    Ok(())
}

fn show_memory(function: &VfioFunction, domain: &Domain) -> Result<(), Failure> {
    println!("   {:x?}", domain.limits());
    for len in [4096, 100_000, 4 << 20] {
        let region = function.dma().allocate(len)?;
        println!("   {len} bytes: {} bytes at iova {:#x}, pages of {} bytes", region.len_bytes(), region.iova(), region.page_bytes());
        // SAFETY: the region is this function's own, and no device was told of it.
        unsafe {
            let last = region.ptr().as_ptr().add(region.len_bytes() - 1);
            last.write_volatile(last.read_volatile() + 1);
        }
    }
    let used: Vec<_> = (0..200).map(|_| function.dma().allocate(8192)).collect::<Result<_, _>>()?;
    let first = used.first().map(DmaRegion::iova);
    drop(used);
    let again = Some(function.dma().allocate(8192)?.iova()) == first;
    println!("   200 regions mapped and unmapped; the first address is free again: {again} (in no-IOMMU mode only once all functions are closed)");
    match function.dma().allocate(1 << 45) {
        Ok(_) => println!("   32 TiB were mapped"),
        Err(error) => println!("   {error}"),
    }
    Ok(())
}

fn share(domain: &Domain, function: &VfioFunction, other: PciAddress) -> Result<(), Error> {
    let region = function.dma().allocate(8192).ok();
    let second = domain.open(other)?;
    println!("   {other} shares the domain: {}; functions {:?}", second.dma().is_same(function.dma()), domain.functions());
    match domain.open(other) {
        Ok(_) => println!("   it was opened twice"),
        Err(error) => println!("   {error}"),
    }
    drop(second);
    println!("   mapped before the second came, and still: {:?}", region.map(|region| region.iova()));
    Ok(())
}
