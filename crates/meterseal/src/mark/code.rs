//! A mark as a QR code, in the terminal or as SVG.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use meterseal_seal::evidence::Kind;
use meterseal_seal::mark::code;
use qrcode::render::{svg, unicode};
use qrcode::{EcLevel, QrCode};

use super::write_whole;

pub(super) fn run(file: &Path, svg_file: Option<&Path>, text_only: bool, out: &mut impl Write) -> Result<()> {
    let signed = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if Kind::of(&signed) != Some(Kind::Mark) {
        bail!("{} is no mark", file.display());
    }
    let Some(text) = code::text(&signed) else {
        bail!(
            "{} is {} bytes long, and a QR code holds {}; shorten the names in it, or hand over the file",
            file.display(),
            signed.len(),
            code::MAX_MARK
        );
    };
    if text_only {
        return Ok(writeln!(out, "{text}")?);
    }
    let drawn = draw(&text)?;
    match svg_file {
        Some(path) => {
            let picture = drawn.render::<svg::Color<'_>>().min_dimensions(600, 600).build();
            write_whole(path, picture.as_bytes())?;
            writeln!(out, "{}", path.display())?;
        }
        None => writeln!(out, "{}", drawn.render::<unicode::Dense1x2>().build())?,
    }
    Ok(())
}

/// With as much correction as a code of a size that telephones read well has room for.
fn draw(text: &str) -> Result<QrCode> {
    let fits = [EcLevel::Q, EcLevel::M].into_iter().find_map(|level| {
        let code = QrCode::with_error_correction_level(text, level).ok()?;
        (code.width() <= EASILY_READ).then_some(code)
    });
    match fits {
        Some(code) => Ok(code),
        None => QrCode::with_error_correction_level(text, EcLevel::L).context("the code cannot be drawn"),
    }
}

/// Modules a side of version 25 (ISO/IEC 18004: 17 + 4 × version; not verified against the standard's text).
const EASILY_READ: usize = 117;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_letters_mode_and_grows_with_the_text() {
        // 600 letters in alphanumeric mode take version 19-Q, which holds 644 (17 + 4 × 19 modules); as bytes they take more.
        let code = draw(&"A".repeat(600)).unwrap();
        assert_eq!((code.width(), code.error_correction_level()), (93, EcLevel::Q));
        assert!(draw(&"a".repeat(600)).unwrap().width() > code.width());
        assert_eq!(draw(&"A".repeat(4296)).unwrap().width(), 177);
        assert!(draw(&"A".repeat(4297)).is_err());
    }
}
