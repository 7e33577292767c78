//! JSON pointers (RFC 6901): the location of a value in a document.

use std::fmt;

/// `/event/type`, parsed into steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer {
    steps: Vec<String>,
}

/// Deeper than the id of a delivery is nested in practice.
const MAX_STEPS: usize = 32;

impl JsonPointer {
    /// Parses a pointer to a value inside a document. The message follows the text: "`type` must begin with `/`".
    pub fn parse(text: &str) -> Result<JsonPointer, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("must begin with `/`, as `/event/type` does".to_owned());
        };
        let steps: Vec<String> = rest.split('/').map(unescape).collect::<Result<_, _>>()?;
        if steps.len() > MAX_STEPS {
            return Err(format!("has more than {MAX_STEPS} steps"));
        }
        Ok(JsonPointer { steps })
    }

    /// From steps that need no unescaping.
    pub fn of(steps: &[&str]) -> JsonPointer {
        JsonPointer { steps: steps.iter().map(|step| (*step).to_owned()).collect() }
    }

    /// The names of members or the indexes of elements, from the outermost.
    pub fn steps(&self) -> &[String] {
        &self.steps
    }
}

fn unescape(step: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(step.len());
    let mut rest = step;
    while let Some((before, after)) = rest.split_once('~') {
        plain.push_str(before);
        rest = if let Some(after) = after.strip_prefix('0') {
            plain.push('~');
            after
        } else if let Some(after) = after.strip_prefix('1') {
            plain.push('/');
            after
        } else {
            return Err("has a `~` that is neither `~0` (a tilde) nor `~1` (a slash)".to_owned());
        };
    }
    plain.push_str(rest);
    Ok(plain)
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "/{}", step.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_taken_apart_and_written_as_they_were() {
        for (text, steps) in [
            ("/type", &["type"][..]),
            ("/event/type", &["event", "type"]),
            ("/a~1b/m~0n/0", &["a/b", "m~n", "0"]),
            ("/~01", &["~1"]),
            ("/", &[""]),
        ] {
            let pointer = JsonPointer::parse(text).unwrap();
            assert_eq!(pointer.steps(), steps, "{text}");
            assert_eq!(pointer.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for text in ["", "type", "#/type", "/a~", "/a~2", &"/a".repeat(33)] {
            assert!(JsonPointer::parse(text).is_err(), "{text}");
        }
    }
}
