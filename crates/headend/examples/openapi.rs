//! Prints the API's OpenAPI document: `cargo run -p meterseal-headend --example openapi > web/openapi.json`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", meterseal_headend::api::document().to_pretty_json()?);
    Ok(())
}
