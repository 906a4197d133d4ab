//! Logarithms and exponentials of several numbers at once, in single precision, and what is made of them:
//! written so that the compiler makes one instruction of four numbers, since a search asks for millions.
//!
//! Range reduction and polynomials as in S. L. Moshier's Cephes library (`logf`, `expf`), whose
//! relative error is below 2e-7 over the whole range.

use std::f32::consts::{LOG2_E, SQRT_2};

/// ln 2, as a part with few digits and the rest: the product of the first with a whole number is exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
/// Added and taken off again, it rounds to a whole number.
const ROUNDS: f32 = 12_582_912.0;
/// Most parts of a sum.
const PARTS: usize = 8;

/// From here on, in nats, a row that may have been hit was.
pub(super) const FAR: f32 = 30.0;

/// Takes the natural logarithms of numbers that are normal and above zero.
pub(super) fn ln(of: &mut [f32]) {
    for x in of {
        let bits = x.to_bits();
        // x = m 2^e, m between the square roots of a half and of two.
        let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
        let (halved, doubled) = if mantissa > SQRT_2 { (0.5, 1.0) } else { (1.0, 0.0) };
        let exponent = ((bits >> 23) as i32 - 127) as f32 + doubled;
        let f = mantissa * halved - 1.0;
        let square = f * f;
        let tail = 7.037_683_6e-2;
        let tail = tail * f - 1.151_461e-1;
        let tail = tail * f + 1.167_699_9e-1;
        let tail = tail * f - 1.242_014_1e-1;
        let tail = tail * f + 1.424_932_3e-1;
        let tail = tail * f - 1.666_805_7e-1;
        let tail = tail * f + 2.000_071_5e-1;
        let tail = tail * f - 2.499_999_4e-1;
        let tail = tail * f + 3.333_333e-1;
        let small = f * square * tail + exponent * LN_2.1 - 0.5 * square;
        *x = f + small + exponent * LN_2.0;
    }
}

/// Takes the exponentials of numbers of at most 80; what is below -80 is taken for that.
pub(super) fn exp(of: &mut [f32]) {
    for x in of {
        let power = if *x < -80.0 { -80.0 } else { *x };
        let whole = (power * LOG2_E + ROUNDS) - ROUNDS;
        let f = power - whole * LN_2.0 - whole * LN_2.1;
        let tail = 1.987_569_1e-4;
        let tail = tail * f + 1.398_2e-3;
        let tail = tail * f + 8.333_452e-3;
        let tail = tail * f + 4.166_579_6e-2;
        let tail = tail * f + 1.666_666_5e-1;
        let tail = tail * f + 0.5;
        // The whole number is in the low bits of the sum that rounded it.
        let scale = ((whole + ROUNDS).to_bits().wrapping_add(127)) << 23;
        *x = (tail * f * f + f + 1.0) * f32::from_bits(scale);
    }
}

/// ln of the sum of what some parts, at most eight, are the ln of, each by its weight.
pub(super) fn ln_sum<const N: usize>(parts: impl Iterator<Item = (f32, [f32; N])>) -> [f32; N] {
    let mut kept = [(0.0, [0.0; N]); PARTS];
    let mut top = [f32::MIN; N];
    let mut n = 0;
    for (kept, part) in kept.iter_mut().zip(parts) {
        top.iter_mut().zip(&part.1).for_each(|(top, of)| *top = if *of > *top { *of } else { *top });
        *kept = part;
        n += 1;
    }
    let mut sum = [0.0; N];
    for (weight, of) in &mut kept[..n] {
        of.iter_mut().zip(&top).for_each(|(of, top)| *of -= top);
        exp(of);
        sum.iter_mut().zip(&*of).for_each(|(sum, of)| *sum += *weight * of);
    }
    ln(&mut sum);
    sum.iter_mut().zip(&top).for_each(|(sum, top)| *sum += top);
    sum
}

/// Makes of what rows say when hit what they say when only such a share of them is.
pub(super) fn ln_partly<const N: usize>(ratio: &mut [f32; N], share: &[f32; N]) {
    let mut hit = *ratio;
    hit.iter_mut().for_each(|hit| *hit = if *hit > FAR { FAR } else { *hit });
    exp(&mut hit);
    hit.iter_mut().zip(share).for_each(|(hit, share)| *hit = 1.0 - share + share * *hit);
    ln(&mut hit);
    // What is far likelier when hit is so by its share, whatever the rest.
    ratio.iter_mut().zip(hit).for_each(|(ratio, hit)| *ratio = hit + if *ratio > FAR { *ratio - FAR } else { 0.0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(take: fn(&mut [f32]), of: f32) -> f32 {
        let mut lanes = [of; 4];
        take(&mut lanes);
        lanes[3]
    }

    #[test]
    fn they_are_what_the_library_says_over_the_whole_range() {
        let mut dice = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let x: f32 = (dice.f32() * 140.0 - 70.0).exp();
            let said = one(ln, x);
            assert!((said - x.ln()).abs() <= 4e-7 * x.ln().abs().max(1.0), "ln {x}: {said}");
            let x = dice.f32() * 150.0 - 75.0;
            let said = one(exp, x);
            assert!((said / x.exp() - 1.0).abs() < 4e-7 * (1.0 + x.abs()), "exp {x}: {said}");
        }
        assert_eq!((one(ln, 1.0), one(exp, 0.0)), (0.0, 1.0));
        assert!(one(exp, -1e30) < 1e-30);
    }
}
