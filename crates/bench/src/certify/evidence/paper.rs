//! Sheets of A4 for the PDF: text that wraps, rules, tables' rows, lines of a plot. What is drawn is collected first, so that every sheet's foot can
//! say of how many it is.

use krilla::Document;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, Stroke, StrokeDash};
use krilla::surface::Surface;
use krilla::text::{Font, TextDirection};

/// A colour: red, green, blue.
pub(super) type Colour = [u8; 3];
pub(super) const INK: Colour = [31, 35, 40];
pub(super) const SOFT: Colour = [89, 99, 110];
pub(super) const RULE: Colour = [205, 211, 218];

/// A4, points.
const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
pub(super) const LEFT: f32 = 50.0;
pub(super) const RIGHT: f32 = WIDTH - 50.0;
const TOP: f32 = 50.0;
const BOTTOM: f32 = HEIGHT - 60.0;

enum Ink {
    Text { x: f32, y: f32, size: f32, bold: bool, colour: Colour, text: String },
    Line { points: Vec<(f32, f32)>, width: f32, colour: Colour, dashed: bool },
    Box { from: (f32, f32), to: (f32, f32), colour: Colour },
}

/// Sheets that are being written, from top to bottom.
pub(super) struct Paper {
    sheets: Vec<Vec<Ink>>,
    y: f32,
}

impl Paper {
    pub(super) fn new() -> Self {
        Self { sheets: vec![Vec::new()], y: TOP }
    }

    /// Where the next thing goes.
    pub(super) fn y(&self) -> f32 {
        self.y
    }

    /// Leaves some room.
    pub(super) fn skip(&mut self, points: f32) {
        self.y += points;
    }

    /// Begins a new sheet where so much does not fit any more.
    pub(super) fn room(&mut self, points: f32) {
        if self.y + points > BOTTOM {
            self.sheets.push(Vec::new());
            self.y = TOP;
        }
    }

    fn put(&mut self, ink: Ink) {
        if let Some(sheet) = self.sheets.last_mut() {
            sheet.push(ink);
        }
    }

    /// Text at a place.
    pub(super) fn at(&mut self, x: f32, y: f32, size: f32, bold: bool, colour: Colour, text: &str) {
        self.put(Ink::Text { x, y, size, bold, colour, text: text.to_owned() });
    }

    /// Text that ends at a place.
    pub(super) fn ending(&mut self, x: f32, y: f32, size: f32, bold: bool, colour: Colour, text: &str) {
        self.at(x - width(text, size, bold), y, size, bold, colour, text);
    }

    /// A paragraph between two edges.
    pub(super) fn paragraph(
        &mut self,
        (from, to): (f32, f32),
        size: f32,
        bold: bool,
        colour: Colour,
        text: &str,
    ) {
        for line in wrap(text, to - from, size, bold) {
            self.room(size * 1.4);
            self.y += size * 1.4;
            self.at(from, self.y - size * 0.35, size, bold, colour, &line);
        }
    }

    /// A row of cells, each in its column (left edge, right edge, to the right), with a rule beneath.
    pub(super) fn row(&mut self, cells: &[(f32, f32, bool, &str)], size: f32, bold: bool, colour: Colour) {
        let wrapped: Vec<Vec<String>> =
            cells.iter().map(|(from, to, _, text)| wrap(text, to - from - 4.0, size, bold)).collect();
        let lines = wrapped.iter().map(Vec::len).max().unwrap_or(1);
        let height = lines as f32 * size * 1.3 + 5.0;
        self.room(height);
        for ((from, to, right, _), lines) in cells.iter().zip(&wrapped) {
            for (number, line) in lines.iter().enumerate() {
                let y = self.y + size * 1.3 * (number as f32 + 1.0) - 1.0;
                if *right {
                    self.ending(*to - 4.0, y, size, bold, colour, line);
                } else {
                    self.at(*from, y, size, bold, colour, line);
                }
            }
        }
        self.y += height;
        self.rule();
    }

    /// A rule across the sheet.
    pub(super) fn rule(&mut self) {
        self.line(vec![(LEFT, self.y), (RIGHT, self.y)], 0.5, RULE, false);
    }

    /// A line.
    pub(super) fn line(&mut self, points: Vec<(f32, f32)>, width: f32, colour: Colour, dashed: bool) {
        self.put(Ink::Line { points, width, colour, dashed });
    }

    /// A filled box.
    pub(super) fn filled(&mut self, from: (f32, f32), to: (f32, f32), colour: Colour) {
        self.put(Ink::Box { from, to, colour });
    }

    /// The file. `None`: the fonts that are built in cannot be used.
    pub(super) fn finish(self, title: &str, foot: &str) -> Option<Vec<u8>> {
        let font = |bytes: &'static [u8]| Font::new(bytes.into(), 0);
        let fonts = [font(REGULAR)?, font(BOLD)?];
        let mut document = Document::new();
        document.set_metadata(Metadata::new().title(title.to_owned()).language("en".to_owned()));
        let count = self.sheets.len();
        for (number, sheet) in self.sheets.into_iter().enumerate() {
            let mut page = document.start_page_with(PageSettings::from_wh(WIDTH, HEIGHT)?);
            let mut surface = page.surface();
            for ink in &sheet {
                draw(&mut surface, &fonts, ink);
            }
            let text = |x, text: String| Ink::Text {
                x,
                y: HEIGHT - 30.0,
                size: 7.5,
                bold: false,
                colour: SOFT,
                text,
            };
            draw(&mut surface, &fonts, &text(LEFT, foot.to_owned()));
            let of = format!("{} of {count}", number + 1);
            draw(&mut surface, &fonts, &text(RIGHT - width(&of, 7.5, false), of));
            surface.finish();
            page.finish();
        }
        document.finish().ok()
    }
}

fn draw(surface: &mut Surface<'_>, fonts: &[Font; 2], ink: &Ink) {
    let colour = |[red, green, blue]: Colour| rgb::Color::new(red, green, blue);
    let fill = |of: Colour| {
        Some(Fill { paint: colour(of).into(), opacity: NormalizedF32::ONE, rule: Default::default() })
    };
    match ink {
        Ink::Text { x, y, size, bold, colour: of, text } => {
            surface.set_stroke(None);
            surface.set_fill(fill(*of));
            let font = fonts[usize::from(*bold)].clone();
            surface.draw_text(Point::from_xy(*x, *y), font, *size, text, false, TextDirection::LeftToRight);
        }
        Ink::Line { points, width, colour: of, dashed } => {
            let mut path = PathBuilder::new();
            for (number, (x, y)) in points.iter().enumerate() {
                if number == 0 { path.move_to(*x, *y) } else { path.line_to(*x, *y) }
            }
            let dash = dashed.then(|| StrokeDash { array: vec![4.0, 3.0], offset: 0.0 });
            surface.set_fill(None);
            surface.set_stroke(Some(Stroke {
                paint: colour(*of).into(),
                width: *width,
                dash,
                ..Stroke::default()
            }));
            if let Some(path) = path.finish() {
                surface.draw_path(&path);
            }
        }
        Ink::Box { from, to, colour: of } => {
            let mut path = PathBuilder::new();
            let Some(rect) = Rect::from_ltrb(from.0, from.1, to.0, to.1) else { return };
            path.push_rect(rect);
            surface.set_stroke(None);
            surface.set_fill(fill(*of));
            if let Some(path) = path.finish() {
                surface.draw_path(&path);
            }
        }
    }
}

/// Lines of words no wider than this; a word that is wider alone is cut.
fn wrap(text: &str, most: f32, size: f32, bold: bool) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word = word;
        while let Some(line) = lines.last_mut() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if width(&longer, size, bold) <= most {
                *line = longer;
                break;
            }
            if !line.is_empty() {
                lines.push(String::new());
                continue;
            }
            let fits = word.char_indices().map(|(at, _)| at).skip(1);
            let cut = fits.take_while(|&at| width(&word[..at], size, bold) <= most).last();
            let (piece, rest) = word.split_at(cut.unwrap_or(word.chars().next().map_or(0, char::len_utf8)));
            *line = piece.to_owned();
            if rest.is_empty() {
                break;
            }
            lines.push(String::new());
            word = rest;
        }
    }
    lines
}

/// How wide a text is, points.
pub(super) fn width(text: &str, size: f32, bold: bool) -> f32 {
    let widths = if bold { &BOLD_WIDTHS } else { &REGULAR_WIDTHS };
    let of = |letter: char| {
        let place = (letter as usize).checked_sub(32);
        // What is beyond ASCII here: ±, °, –, ·, each about as wide as a figure.
        f32::from(place.and_then(|place| widths.get(place)).copied().unwrap_or(556))
    };
    text.chars().map(of).sum::<f32>() * size / 1000.0
}

/// Liberation Sans, under the SIL Open Font License 1.1 (fonts/LICENSE).
static REGULAR: &[u8] = include_bytes!("../../../fonts/LiberationSans-Regular.ttf");
static BOLD: &[u8] = include_bytes!("../../../fonts/LiberationSans-Bold.ttf");

/// Advances of ASCII from the space on, thousandths of the size: from the fonts' own tables.
const REGULAR_WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278,
    500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469,
    556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500,
    278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];
const BOLD_WIDTHS: [u16; 95] = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278,
    556, 722, 611, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584,
    556, 333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556,
    333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_wider_than_asked_and_lose_nothing() {
        let text = "a digest 0123456789abcdef0123456789abcdef0123456789abcdef, and words after it";
        let lines = wrap(text, 90.0, 10.0, false);
        assert!(lines.iter().all(|line| width(line, 10.0, false) <= 90.0), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
    }
}
