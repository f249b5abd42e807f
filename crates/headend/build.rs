//! Builds again when the page's files change, new ones included.

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist");
}
