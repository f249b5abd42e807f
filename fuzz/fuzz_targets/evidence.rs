#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meterseal_fuzz::evidence::run(data));
