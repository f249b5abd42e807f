//! The metrology core's sums in the widest registers that the processor has, chosen at run time.
//!
//! The loops are `metrology`'s own safe code, compiled once more with AVX2 enabled; nothing is computed differently, and the core compares every kernel
//! with its scalar one before it uses it. What this crate adds is the choice, and with it the one `unsafe` call that the core must not contain.
//!
//! ```
//! use meterseal_metrology::Extras;
//!
//! let extras = Extras { kernel: meterseal_metrology_simd::fastest(), ..Extras::default() };
//! # let _ = extras;
//! ```

#![no_std]

#[cfg(target_arch = "x86_64")]
extern crate std;

use meterseal_metrology::Kernel;

/// The fastest kernel that this processor can run: AVX2 on x86-64 that has it, else the scalar one.
pub fn fastest() -> Kernel {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = avx2::kernel() {
        return kernel;
    }
    Kernel::SCALAR
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use meterseal_metrology::{Frame, Kernel, Sums, accumulate_in_lanes};

    /// `None` on a processor without AVX2.
    pub(super) fn kernel() -> Option<Kernel> {
        std::is_x86_feature_detected!("avx2").then_some(Kernel::new(accumulate))
    }

    fn accumulate(frames: &[Frame], cos: &[i32], sin: &[i32]) -> Sums {
        // SAFETY: the only way to this function is through `kernel`, which hands it out on a processor with AVX2 only.
        #[allow(unsafe_code, reason = "the processor's features are known at run time, not to the compiler")]
        unsafe {
            accumulate_wide(frames, cos, sin)
        }
    }

    #[target_feature(enable = "avx2")]
    fn accumulate_wide(frames: &[Frame], cos: &[i32], sin: &[i32]) -> Sums {
        accumulate_in_lanes(frames, cos, sin)
    }
}
