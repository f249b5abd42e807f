//! Sine, cosine and the angle of a vector in fixed point, so that every platform gives the same bits.
//!
//! An angle is a fraction of a turn in units of 2⁻⁶⁴: it wraps where an integer wraps, and as a signed integer runs from −½ to ½.

/// A complex number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Complex<T> {
    pub(crate) re: T,
    pub(crate) im: T,
}

impl Complex<i64> {
    /// `self · conj(other)`: its angle is the angle from `other` to `self`.
    pub(crate) fn times_conjugate(self, other: Self) -> Complex<i128> {
        let product = |a, b| i128::from(a) * i128::from(b);
        Complex {
            re: product(self.re, other.re) + product(self.im, other.im),
            im: product(self.im, other.re) - product(self.re, other.im),
        }
    }
}

/// Cosine and sine of `turn`, with 62 fractional bits, exact to 2⁻⁵³ (the first omitted term of the series; tested).
pub(crate) const fn cos_sin(turn: u64) -> (i64, i64) {
    // The nearest quarter turn, and what remains: at most an eighth of a turn, where the series converges fast.
    let quarters = turn.wrapping_add(1 << 61) >> 62;
    let rest = turn.wrapping_sub(quarters << 62) as i64;
    let x = multiply(rest, HALF_PI);
    let square = multiply(x, x).unsigned_abs();
    let (cos, sin) = (series::<1>(square), multiply(x, series::<2>(square)));
    match quarters & 3 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// Horner's scheme of 1 − x²/(1·2)·(1 − x²/(3·4)·(…)) from `x²`, and of the same for the sine over x, which begins with 2·3. Nothing in it is
/// below zero: divisions without a sign are shorter.
#[inline(always)]
const fn series<const FIRST: u64>(square: u64) -> i64 {
    let one = ONE.unsigned_abs();
    let mut sum = one;
    // Written out: only a division by a constant is a multiplication.
    macro_rules! terms {
        ($($n:literal)*) => {$(
            let product = ((square as u128 * sum as u128) >> 62) as u64;
            sum = one - product / const { (FIRST + 2 * $n) * (FIRST + 2 * $n + 1) };
        )*};
    }
    terms!(7 6 5 4 3 2 1 0);
    sum.cast_signed()
}

/// The angle of the vector (`re`, `im`), exact to 2⁻⁴³ of a turn; 0 for the zero vector.
pub(crate) fn angle(vector: Complex<i128>) -> i64 {
    let Complex { re, im } = vector;
    let largest = re.unsigned_abs().max(im.unsigned_abs());
    if largest == 0 {
        return 0;
    }
    // To 60 bits: the rotations below stretch by 1.65, and a diagonal by √2.
    let bits = 128 - largest.leading_zeros();
    let scaled = |value: i128| {
        if bits > 60 { (value >> (bits - 60)) as i64 } else { (value << (60 - bits)) as i64 }
    };
    let (mut x, mut y) = (scaled(re), scaled(im));
    let mut turn = 0_i64;
    if x < 0 {
        (x, y, turn) = (-x, -y, i64::MIN);
    }
    for (shift, step) in ARC_TANGENTS.iter().enumerate() {
        (x, y, turn) = if y > 0 {
            (x + (y >> shift), y - (x >> shift), turn.wrapping_add(*step))
        } else {
            (x - (y >> shift), y + (x >> shift), turn.wrapping_sub(*step))
        };
    }
    turn
}

/// Millionths of a degree, −180° to 180°, to the nearest.
pub(crate) fn microdegrees(turn: i64) -> i32 {
    ((i128::from(turn) * 360_000_000 + (1 << 63)) >> 64) as i32
}

const fn multiply(a: i64, b: i64) -> i64 {
    ((a as i128 * b as i128) >> 62) as i64
}

const ONE: i64 = 1 << 62;
/// π/2 with 62 fractional bits: π = 3.243F6A88 85A308D3 13198A2E… (hexadecimal).
pub(crate) const HALF_PI: i64 = 0x6487_ED51_10B4_611A;
/// 2/π with 63 fractional bits.
const TWO_OVER_PI: i128 = 0x517C_C1B7_2722_0A94;

/// arctan 2⁻ⁱ in turns.
const ARC_TANGENTS: [i64; 46] = {
    let mut table = [1 << 61; 46];
    let mut i = 1;
    while i < table.len() {
        // x − x³/3 + x⁵/5 …, with x = 2⁻ⁱ, 62 fractional bits.
        let (mut sum, mut n) = (0_i128, 0);
        while i * (2 * n + 1) <= 62 {
            let term = (1_i128 << (62 - i * (2 * n + 1))) / (2 * n as i128 + 1);
            sum += if n % 2 == 0 { term } else { -term };
            n += 1;
        }
        table[i] = ((sum * TWO_OVER_PI) >> 63) as i64;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn turns() -> impl Iterator<Item = u64> {
        let edges = (0..8).flat_map(|n: u64| [0_u64, 1, u64::MAX].map(|d| (n << 61).wrapping_add(d)));
        edges.chain((0..20_000).map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    #[test]
    fn cosine_and_sine_agree_with_double_precision() {
        for turn in turns() {
            let (cos, sin) = cos_sin(turn);
            let radians = turn as f64 / 2f64.powi(64) * core::f64::consts::TAU;
            let one = ONE as f64;
            assert!((cos as f64 / one - radians.cos()).abs() < 2e-15, "cos {turn}");
            assert!((sin as f64 / one - radians.sin()).abs() < 2e-15, "sin {turn}");
        }
    }

    #[test]
    fn the_angle_of_a_unit_vector_is_the_angle_it_was_made_from() {
        for turn in turns() {
            let (re, im) = cos_sin(turn);
            for shift in [0, 30, 60] {
                let vector = Complex { re: i128::from(re) << shift, im: i128::from(im) << shift };
                let error = angle(vector).wrapping_sub(turn as i64);
                assert!(error.unsigned_abs() < 1 << 20, "{turn} {shift}: {error}");
            }
        }
        assert_eq!(angle(Complex::default()), 0);
    }
}
