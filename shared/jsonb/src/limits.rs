//! Limits of jsonb, and our own where jsonb has none that is useful.

/// How deep arrays and objects may nest. jsonb itself stops where the server's stack ends, some thousands deep; most
/// programs that read events back stop earlier.
pub const MAX_DEPTH: usize = 1_000;
/// jsonb writes exponents out: `1e131071`, which it takes, is 131,072 characters when it is read back. No measurement
/// needs more than this.
pub const MAX_EXPONENT: i64 = 400;
/// The maximum decimal digits of `numeric` before and after the decimal point.
pub const MAX_INTEGER_DIGITS: i64 = 131_072;
pub const MAX_FRACTION_DIGITS: i64 = 16_383;
