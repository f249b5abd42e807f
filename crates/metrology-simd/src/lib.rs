//! The metrology core's loops in the widest registers that the processor has, chosen at run time.
//!
//! Nothing is computed differently: all is integers, so that any order of the same sums gives the same bits, and the core compares every kernel with its
//! scalar one before it uses it. The loops themselves are safe code. What this crate adds to them is the choice, and with it the `unsafe` calls that the
//! core must not contain: into functions that are compiled for a processor which the compiler cannot see.
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

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod sse2;

use meterseal_metrology::Kernel;

/// The fastest kernel that this processor can run: on x86-64 AVX2 where there is that, else SSE2; elsewhere the scalar one.
pub fn fastest() -> Kernel {
    avx2().or(sse2()).unwrap_or(Kernel::SCALAR)
}

/// The kernel for AVX2; `None` on a processor without it.
pub fn avx2() -> Option<Kernel> {
    #[cfg(target_arch = "x86_64")]
    return avx2::kernel();
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// The kernel for SSE2, which every x86-64 has; `None` elsewhere.
pub fn sse2() -> Option<Kernel> {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    return Some(sse2::KERNEL);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    None
}
