//! Every input that was ever worth keeping, without the fuzzer: what was found once stays mended.

use std::path::Path;

fn all(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be listed").path();
        run(&std::fs::read(&path).expect("a file can be read"));
        inputs += 1;
    }
    assert!(inputs > 0, "{target} has no corpus");
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                all(stringify!($target), meterseal_fuzz::$target::run);
            }
        )*
    };
}

targets!(wrapper apdu aarq ciphered certificate session answer evidence);
