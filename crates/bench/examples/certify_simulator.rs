//! A bench without instruments: source, reference standard, pulse counter and chamber that speak SCPI, and a virtual meter on it, on free ports of the
//! loopback, until Enter. Writes a target profile and the meter's keys into a folder, and says the command that certifies it.
//!
//! `cargo run --release -p meterseal-bench --example certify_simulator -- FOLDER`

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use meterseal_bench::certify::Made;
use meterseal_bench::certify::network::simulator::Simulator;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("simulator"), PathBuf::from);
    let simulator = Simulator::start(&Made::new(1)?, |meter| meter)?;
    for (role, digits) in simulator.keys() {
        let own = folder.join("access").join(role.name());
        std::fs::create_dir_all(&own)?;
        meterseal_link::pki::write_secret(
            &own.join(format!("{}.key", simulator.meter())),
            digits.as_bytes(),
        )?;
    }
    let profile = folder.join("target.toml");
    std::fs::write(&profile, simulator.profile(std::path::Path::new("access")))?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "meterseal certify --target tcp://{} --profile {} --out {} --only ACC-02",
        simulator.ports().meter,
        profile.display(),
        folder.join("evidence").display()
    )?;
    writeln!(out, "Enter ends it")?;
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}
