//! Certificates and whatever else of X.509 comes from outside.

/// Any bytes.
pub fn run(data: &[u8]) {
    let _ = data;
}
