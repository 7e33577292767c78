//! Reads the environment once into a typed struct, and reports all invalid variables in one error.
//!
//! A function describes its settings as one closure over an [`EnvironmentReader`]:
//!
//! ```
//! use millrace::config::environment::{Secret, read};
//!
//! struct Settings {
//!     database_url: Secret,
//!     chunk_rows: u64,
//! }
//!
//! let variables = |name: &str| (name == "MILLRACE_CHUNK_ROWS").then(|| "10k".to_string());
//! let error = read(variables, |env| Settings {
//!     database_url: env.secret("DATABASE_URL"),
//!     chunk_rows: env.number("MILLRACE_CHUNK_ROWS", 10_000, 1..=1_000_000),
//! })
//! .err();
//! assert_eq!(
//!     error.map(|error| error.to_string()).as_deref(),
//!     Some("DATABASE_URL: missing; MILLRACE_CHUNK_ROWS: \"10k\" is not a number"),
//! );
//! ```

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use secrecy::{ExposeSecret, SecretString as Secret};

use crate::{Code, Error, Kind, Result};

/// Reads settings from this process's environment. See [`read`].
pub fn read_environment<T>(build: impl FnOnce(&mut EnvironmentReader<'_>) -> T) -> Result<T> {
    // A value that is not Unicode contains U+FFFD after the conversion. The reader refuses it.
    read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()), build)
}

/// Builds settings from variables that `lookup` finds.
///
/// The methods of the reader return a placeholder for a missing or invalid variable. The result of `build` is only returned
/// if all variables are valid.
///
/// # Errors
/// [`Kind::Config`], whose message names every bad variable: `A: missing; B: "10k" is not a number`.
pub fn read<T>(
    lookup: impl Fn(&str) -> Option<String>,
    build: impl FnOnce(&mut EnvironmentReader<'_>) -> T,
) -> Result<T> {
    let mut reader = EnvironmentReader { lookup: &lookup, problems: Vec::new() };
    let settings = build(&mut reader);
    if reader.problems.is_empty() {
        return Ok(settings);
    }
    Err(Error::new(Kind::Config, reader.problems.join("; ")).with_code(Code::BadEnvironment))
}

/// Reads variables by name and collects their problems. An empty variable counts as unset, because templates set the
/// variables of blank parameters.
pub struct EnvironmentReader<'l> {
    lookup: &'l dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl EnvironmentReader<'_> {
    /// The text of a variable that must be set.
    pub fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| self.missing(name))
    }

    /// The text of a variable that may be left out.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        if value.contains(char::REPLACEMENT_CHARACTER) {
            self.problem(name, "not valid UTF-8");
            return None;
        }
        Some(value).filter(|value| !value.is_empty())
    }

    /// The text of a variable, or `default`.
    pub fn text(&mut self, name: &str, default: &str) -> String {
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    /// A secret that must be set.
    pub fn secret(&mut self, name: &str) -> Secret {
        Secret::from(self.required(name))
    }

    /// A number within `bounds`, or `default`.
    pub fn number<N>(&mut self, name: &str, default: N, bounds: RangeInclusive<N>) -> N
    where
        N: FromStr + PartialOrd + Display,
    {
        self.parsed(name, default, |text| {
            let number = text.trim().parse().map_err(|_| "is not a number".to_string())?;
            within(number, &bounds, N::to_string)
        })
    }

    /// A size in bytes within `bounds`, or `default`: `4194304`, `64 KiB`, `4 MiB`, `10 MB`.
    pub fn bytes(&mut self, name: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        self.parsed(name, default, |text| {
            within(parse_bytes(text)?, &bounds, |bytes| format!("{bytes} bytes"))
        })
    }

    /// [`Self::bytes`] of a size in memory.
    pub fn size(&mut self, name: &str, default: usize, bounds: RangeInclusive<usize>) -> usize {
        let bounds = *bounds.start() as u64..=*bounds.end() as u64;
        usize::try_from(self.bytes(name, default as u64, bounds)).unwrap_or(usize::MAX)
    }

    /// A length of time within `bounds`, or `default`: `500 ms`, `30 s`, `5 min`, `2 h`.
    pub fn duration(&mut self, name: &str, default: Duration, bounds: RangeInclusive<Duration>) -> Duration {
        self.parsed(name, default, |text| within(parse_duration(text)?, &bounds, |time| format!("{time:?}")))
    }

    /// The result of `parse`, or `default` when the variable is unset. The error of `parse` follows the value in the
    /// message: "is not a number".
    pub fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> std::result::Result<T, String>,
    ) -> T {
        let Some(text) = self.optional(name) else { return default };
        match parse(&text) {
            Ok(value) => value,
            Err(message) => {
                let shown: String = text.chars().take(60).collect();
                let more = if shown.len() < text.len() { "…" } else { "" };
                self.problem(name, &format!("\"{}{more}\" {message}", shown.escape_debug()));
                default
            }
        }
    }

    /// `DATABASE_URL`, which must be set.
    pub fn database_url(&mut self) -> Secret {
        self.secret("DATABASE_URL")
    }

    /// `MILLRACE_PIPELINE`, the folder of `sources.toml` and `models/`. In Lambda a layer contains it.
    pub fn pipeline(&mut self) -> PathBuf {
        PathBuf::from(self.text("MILLRACE_PIPELINE", "/opt/pipeline"))
    }

    /// `MILLRACE_DEADLINE_MARGIN`, the time before the deadline of an invocation in which no work begins.
    pub fn deadline_margin(&mut self, default: Duration, longest: Duration) -> Duration {
        self.duration("MILLRACE_DEADLINE_MARGIN", default, Duration::from_millis(100)..=longest)
    }

    /// Adds a problem that the caller found, such as two settings that exclude each other. `message` must not contain a
    /// secret.
    pub fn problem(&mut self, name: &str, message: &str) {
        self.problems.push(format!("{name}: {message}"));
    }

    fn missing(&mut self, name: &str) -> String {
        // A variable that is not valid UTF-8 already has a problem.
        if !self.problems.iter().any(|problem| problem.starts_with(&format!("{name}: "))) {
            self.problem(name, "missing");
        }
        String::new()
    }
}

fn within<T: PartialOrd>(
    value: T,
    bounds: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> std::result::Result<T, String> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(format!("is not within {} to {}", show(bounds.start()), show(bounds.end())))
}

/// Splits `64 KiB` into its number and its unit in lower case.
fn split_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start().to_ascii_lowercase()))
}

fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let size = split_unit(text).and_then(|(number, unit)| {
        let unit: u64 = match unit.as_str() {
            "" | "b" | "byte" | "bytes" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(unit)
    });
    size.ok_or_else(|| "is not a size in bytes (such as 4194304, 64 KiB, 4 MiB)".to_string())
}

fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let duration = split_unit(text).and_then(|(number, unit)| {
        let seconds: u64 = match unit.as_str() {
            "ms" => return Some(Duration::from_millis(number)),
            "s" => 1,
            "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        number.checked_mul(seconds).map(Duration::from_secs)
    });
    duration.ok_or_else(|| "is not a length of time with its unit (such as 500 ms, 30 s, 5 min)".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_from<T>(
        variables: &[(&str, &str)],
        build: impl FnOnce(&mut EnvironmentReader<'_>) -> T,
    ) -> Result<T> {
        read(
            |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string()),
            build,
        )
    }

    #[test]
    fn every_bad_variable_is_named_at_once() {
        let error =
            read_from(&[("ROWS", "10k"), ("BYTES", "4 MiX"), ("WAIT", "30"), ("SMALL", "0")], |env| {
                env.secret("DATABASE_URL");
                env.number("ROWS", 1, 1..=10);
                env.bytes("BYTES", 1, 1..=10);
                env.duration("WAIT", Duration::ZERO, Duration::ZERO..=Duration::MAX);
                env.number("SMALL", 5, 1..=10);
            })
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert_eq!(
            error.message().split("; ").collect::<Vec<_>>(),
            [
                "DATABASE_URL: missing",
                "ROWS: \"10k\" is not a number",
                "BYTES: \"4 MiX\" is not a size in bytes (such as 4194304, 64 KiB, 4 MiB)",
                "WAIT: \"30\" is not a length of time with its unit (such as 500 ms, 30 s, 5 min)",
                "SMALL: \"0\" is not within 1 to 10",
            ]
        );
    }

    #[test]
    fn unset_and_empty_variables_take_the_default() {
        let settings = read_from(&[("EMPTY", "")], |env| {
            (env.text("UNSET", "a"), env.number("EMPTY", 7, 1..=9), env.optional("EMPTY"))
        });
        assert_eq!(settings.unwrap(), ("a".to_string(), 7, None));
        assert_eq!(
            read_from(&[("EMPTY", "")], |env| env.required("EMPTY")).unwrap_err().message(),
            "EMPTY: missing"
        );
    }

    #[test]
    fn sizes_are_read_in_decimal_and_binary_units() {
        for (text, bytes) in [
            ("4194304", 4_194_304),
            ("4 MiB", 4_194_304),
            ("4MiB", 4_194_304),
            (" 64 kib ", 65_536),
            ("10 MB", 10_000_000),
            ("1 GiB", 1 << 30),
            ("0", 0),
            ("1 byte", 1),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5 GiB", "4M", "99999999999999999999", "99999999999 GiB", "1 MiB 2"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_of_time_need_their_unit() {
        for (text, millis) in [("500 ms", 500), ("30s", 30_000), ("5 min", 300_000), ("2 h", 7_200_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "1.5 s", "5 m", "18446744073709551615 h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let canary = "postgres://user:canary@host/db";
        let secret = read_from(&[("DATABASE_URL", canary)], |env| env.secret("DATABASE_URL")).unwrap();
        assert_eq!(secret.expose_secret(), canary);
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "SecretBox<str>([REDACTED]) Some(SecretBox<str>([REDACTED]))"
        );

        let error = read_from(&[("TOKEN", "canary\u{fffd}")], |env| env.secret("TOKEN")).unwrap_err();
        assert_eq!(error.message(), "TOKEN: not valid UTF-8");
    }

    #[test]
    fn a_long_wrong_value_is_cut_in_the_message() {
        let error =
            read_from(&[("ROWS", &"9\n".repeat(500))], |env| env.number("ROWS", 1, 1..=2)).unwrap_err();
        assert!(error.message().len() < 150 && !error.message().contains('\n'), "{}", error.message());
    }

    #[test]
    fn the_caller_can_add_what_only_it_can_see() {
        let error = read_from(&[], |env| env.problem("DATABASE_URL", "not a postgres:// URL")).unwrap_err();
        assert_eq!(error.message(), "DATABASE_URL: not a postgres:// URL");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in any::<String>()) {
            let _ = read_from(&[("X", &text)], |env| {
                env.number("X", 1.0, 0.0..=2.0);
                env.bytes("X", 1, 0..=u64::MAX);
                env.duration("X", Duration::ZERO, Duration::ZERO..=Duration::MAX);
                env.secret("X");
            });
        }
    }
}
