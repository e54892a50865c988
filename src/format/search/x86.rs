//! Vectors of sixteen and thirty-two bytes on x86-64.
//!
//! Law: a method of [`Avx2`] runs only in code that was entered because the machine has AVX2: its callers are compiled for
//! it (`target_feature`) and reached through [`Kernel`](super::Kernel) alone, and it is inlined into them. SSE2 is a part
//! of x86-64 itself.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8,
    _mm_or_si128, _mm_set1_epi8, _mm_sub_epi8, _mm256_cmpeq_epi8, _mm256_loadu_si256,
    _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_sub_epi8,
};

use super::Vector;

/// The two vectors differ in their width and the names of their instructions.
macro_rules! vector {
    ($name:ident, $about:literal, $register:ty, $width:literal, $every:literal,
     $load:ident, $splat:ident, $or:ident, $equal:ident, $min:ident, $subtract:ident, $bits:ident) => {
        #[doc = $about]
        #[derive(Clone, Copy)]
        pub(in crate::format) struct $name($register);

        impl $name {
            #[inline(always)]
            fn splat(byte: u8) -> $name {
                // SAFETY: by the law of this file the machine has the instruction.
                $name(unsafe { $splat(byte.cast_signed()) })
            }

            #[inline(always)]
            fn or(self, other: $name) -> $name {
                // SAFETY: by the law of this file the machine has the instruction.
                $name(unsafe { $or(self.0, other.0) })
            }

            /// All bits of each byte that equals `byte`.
            #[inline(always)]
            fn is(self, byte: u8) -> $name {
                // SAFETY: by the law of this file the machine has the instruction.
                $name(unsafe { $equal(self.0, $name::splat(byte).0) })
            }

            /// All bits of each byte from `first` to `last`.
            #[inline(always)]
            fn between(self, first: u8, last: u8) -> $name {
                // SAFETY: by the law of this file the machine has the instructions.
                unsafe {
                    let offset = $subtract(self.0, $name::splat(first).0);
                    $name($equal($min(offset, $name::splat(last - first).0), offset))
                }
            }

            /// Brackets of both kinds become braces, capital letters small ones.
            #[inline(always)]
            fn folded(self) -> $name {
                self.or($name::splat(0x20))
            }

            /// A bit for each byte: its highest.
            #[inline(always)]
            fn bits(self) -> u64 {
                // SAFETY: by the law of this file the machine has the instruction.
                u64::from(unsafe { $bits(self.0) }.cast_unsigned())
            }
        }

        impl Vector for $name {
            const WIDTH: usize = $width;
            const SCALE: u32 = 1;

            #[inline(always)]
            fn load(bytes: &[u8]) -> $name {
                let bytes: &[u8; $width] = bytes.first_chunk().expect("a whole vector");
                // SAFETY: that many bytes are readable there, and the load needs no alignment; by the law of this file the
                // machine has the instruction.
                $name(unsafe { $load(bytes.as_ptr().cast()) })
            }

            #[inline(always)]
            fn string_stop(self) -> u64 {
                let quotes = self.is(b'"').or(self.is(b'\\'));
                quotes.or(self.between(0, 0x1f)).bits()
            }

            #[inline(always)]
            fn quote_stop(self) -> u64 {
                self.is(b'"').or(self.is(b'\\')).bits()
            }

            #[inline(always)]
            fn nesting_stop(self) -> u64 {
                let folded = self.folded();
                let brackets = folded.is(b'{').or(folded.is(b'}'));
                brackets.or(self.is(b'"')).bits()
            }

            #[inline(always)]
            fn scalar_stop(self) -> u64 {
                let letters = self.folded().between(b'a', b'z');
                let rest = self.between(b'-', b'9').or(self.is(b'+'));
                letters.or(rest).bits() ^ $every
            }

            #[inline(always)]
            fn equal(self, byte: u8) -> u64 {
                self.is(byte).bits()
            }
        }
    };
}

vector!(
    Sse2,
    "Sixteen bytes.",
    __m128i,
    16,
    0xffff,
    _mm_loadu_si128,
    _mm_set1_epi8,
    _mm_or_si128,
    _mm_cmpeq_epi8,
    _mm_min_epu8,
    _mm_sub_epi8,
    _mm_movemask_epi8
);

vector!(
    Avx2,
    "Thirty-two bytes.",
    __m256i,
    32,
    0xffff_ffff,
    _mm256_loadu_si256,
    _mm256_set1_epi8,
    _mm256_or_si256,
    _mm256_cmpeq_epi8,
    _mm256_min_epu8,
    _mm256_sub_epi8,
    _mm256_movemask_epi8
);
