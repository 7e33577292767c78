//! Limits of jsonb, and stricter limits of Millrace.

/// The maximum nesting of arrays and objects. The limit of jsonb is the stack of the server, some thousand levels. The limits of
/// most programs that read events are lower.
pub const MAX_DEPTH: usize = 1_000;
/// jsonb writes numbers without exponents: `1e131071`, which it accepts, is read back as 131,072 characters. No measurement needs
/// more than this.
pub const MAX_EXPONENT: i64 = 400;
/// The maximum decimal digits of `numeric` before and after the decimal point.
pub const MAX_INTEGER_DIGITS: i64 = 131_072;
pub const MAX_FRACTION_DIGITS: i64 = 16_383;
