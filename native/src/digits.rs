//! ASCII digits eight at a time, as one 64-bit number: what the fast path spends its time on.

pub const TENS: [u64; 20] = {
    let mut tens = [1; 20];
    let mut i = 1;
    while i < 20 {
        tens[i] = tens[i - 1] * 10;
        i += 1;
    }
    tens
};

/// How many of eight bytes, the first lowest, are digits before the first that is none.
#[inline(always)]
pub fn leading_digits(bytes: u64) -> usize {
    let values = bytes ^ 0x3030_3030_3030_3030;
    let others = ((values & 0x7F7F_7F7F_7F7F_7F7F) + 0x7676_7676_7676_7676) | values;
    ((others & 0x8080_8080_8080_8080).trailing_zeros() / 8) as usize
}

/// The value of the first `count` of eight ASCII digits, the first lowest.
#[inline(always)]
pub fn front_digits(bytes: u64, count: usize) -> u64 {
    if count == 0 {
        return 0;
    }
    eight_values(bytes << (64 - 8 * count))
}

/// Whether all of eight bytes are digits.
#[inline(always)]
pub fn are_digits(bytes: u64) -> bool {
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    (bytes & HIGH) | ((bytes.wrapping_add(0x0606_0606_0606_0606) & HIGH) >> 4) == 0x3333_3333_3333_3333
}

/// The value of eight ASCII digits (or of zero bytes in front of them), the first lowest: pairs, then fours, then all
/// eight, with three multiplications instead of eight.
#[inline(always)]
pub fn eight_values(bytes: u64) -> u64 {
    let values = bytes & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (values.wrapping_mul(2561) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(6_553_601) >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(42_949_672_960_001) >> 32
}
