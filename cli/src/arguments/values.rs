//! The values of arguments: names, headers and times.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use millrace::config::names::check_name;

/// A source or an event type.
pub fn key_part(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

/// The end of an object's key.
pub fn key_suffix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('/') || text.ends_with('/') || text.chars().any(char::is_control) {
        return Err("it is the end of a key: 2026/01/orders.csv".to_owned());
    }
    Ok(text.to_owned())
}

pub fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| "write 'NAME: VALUE'".to_owned())?;
    let name = name.trim().parse().map_err(|_| "that is no name of a header".to_owned())?;
    let value = value.trim().parse().map_err(|_| "that is no value of a header".to_owned())?;
    Ok((name, value))
}

/// `90s`, `15m`, `2h`; a number alone is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (figure, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err("write 90s, 15m or 2h".to_owned()),
    };
    let figure: u64 = figure.parse().map_err(|_| "write 90s, 15m or 2h".to_owned())?;
    figure.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7_200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "m", "1d", "-1s", "1.5h", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        let (name, value) = header("X-Signature:  t=1,v1=a:b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-signature", "t=1,v1=a:b"));
        for text in ["", "X-Signature", ": a", "a b: c", "a: b\nc"] {
            assert!(header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_source_is_one_part_of_a_key() {
        assert!(key_part("nyc").is_ok());
        assert!(key_part("a/b").is_err());
        assert!(key_part("air ports").is_err());
        assert!(key_part("").is_err());
        assert!(key_suffix("2026/01/a b.csv").is_ok());
        assert!(key_suffix("/a").is_err());
    }
}
