//! Reproducible random numbers: xoshiro256++ (Blackman and Vigna, 2019), seeded through SplitMix64. Written here
//! because a site must give the same frames for the same seed whatever a dependency's next version does.

/// A generator of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    pub(crate) fn new(mut seed: u64) -> Self {
        let state = std::array::from_fn(|_| {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        });
        Self { state }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in 0 ≤ x < 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal, mean 0 and standard deviation 1: the sum of four uniform numbers (Irwin–Hall), within ±3.5.
    #[inline]
    pub(crate) fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum = (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
        (sum as i32 - 131_070) as f32 * (1.0 / 37_837.2)
    }
}

/// A value that wanders around zero (an Ornstein–Uhlenbeck process, stepped exactly).
#[derive(Clone, Debug)]
pub(crate) struct Wander {
    value: f64,
    keep: f64,
    kick: f64,
    limit: f64,
}

impl Wander {
    /// With this standard deviation and correlation time, never beyond `limit`.
    pub(crate) fn new(deviation: f64, seconds: f64, step_seconds: f64, limit: f64) -> Self {
        let keep = (-step_seconds / seconds).exp();
        Self { value: 0.0, keep, kick: deviation * (1.0 - keep * keep).sqrt(), limit }
    }

    pub(crate) fn step(&mut self, random: &mut Random) -> f64 {
        self.value = self.value * self.keep + self.kick * f64::from(random.normal());
        self.value = self.value.clamp(-self.limit, self.limit);
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let mut random = Random::new(1);
        let values: Vec<f64> = (0..100_000).map(|_| f64::from(random.normal())).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn a_wander_stays_within_its_limit_and_keeps_its_deviation() {
        let mut random = Random::new(2);
        let mut wander = Wander::new(1.0, 10.0, 0.1, 2.5);
        let values: Vec<f64> = (0..200_000).map(|_| wander.step(&mut random)).collect();
        assert!(values.iter().all(|x| x.abs() <= 2.5));
        let deviation = (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt();
        assert!((deviation - 1.0).abs() < 0.15, "{deviation}");
    }
}
