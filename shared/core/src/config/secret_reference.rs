//! References to secrets. `sources.toml` never contains a secret itself.

use std::fmt;
use std::path::PathBuf;

/// `env:NAME`, `file:/path`, or `secretsmanager:` with a name or an ARN, followed by `#KEY` if the secret is a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretReference {
    Environment(String),
    File(PathBuf),
    SecretsManager { id: String, key: Option<String> },
}

const FORMS: &str = "`env:NAME`, `file:/path` or `secretsmanager:NAME`";

impl SecretReference {
    /// # Errors
    /// Why `text` is not a reference. The message never contains `text`, because it may be the secret itself.
    pub fn parse(text: &str) -> Result<SecretReference, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "env" => {
                let starts = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                if !starts || !rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(
                        "expected the name of a variable after `env:`, such as `env:MILLRACE_SECRET_GITHUB`"
                            .to_owned(),
                    );
                }
                Ok(SecretReference::Environment(rest.to_owned()))
            }
            "file" => {
                if !rest.starts_with('/') || rest.contains('\0') {
                    return Err(
                        "expected an absolute path after `file:`, such as `file:/run/secrets/github`"
                            .to_owned(),
                    );
                }
                Ok(SecretReference::File(PathBuf::from(rest)))
            }
            "secretsmanager" => {
                let (id, key) = match rest.split_once('#') {
                    Some((id, key)) => (id, Some(key.to_owned())),
                    None => (rest, None),
                };
                // What Secrets Manager allows in a name, and the colons of an ARN.
                let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-:".contains(c);
                if id.is_empty() || id.len() > 2048 || !id.chars().all(allowed) || key.as_deref() == Some("")
                {
                    return Err(
                        "expected a name or an ARN after `secretsmanager:`, and a key after `#`, such as \
                                `secretsmanager:webhooks#github`"
                            .to_owned(),
                    );
                }
                Ok(SecretReference::SecretsManager { id: id.to_owned(), key })
            }
            _ => Err(format!(
                "expected {FORMS}: this file is committed and deployed, so it must not contain the secret itself"
            )),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretReference::Environment(name) => write!(f, "env:{name}"),
            SecretReference::File(path) => write!(f, "file:{}", path.display()),
            SecretReference::SecretsManager { id, key: None } => write!(f, "secretsmanager:{id}"),
            SecretReference::SecretsManager { id, key: Some(key) } => write!(f, "secretsmanager:{id}#{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_written_as_they_were_read() {
        for text in [
            "env:MILLRACE_SECRET_GITHUB",
            "file:/run/secrets/git hub#1",
            "secretsmanager:webhooks/github",
            "secretsmanager:webhooks#github",
            "secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:webhooks-AbCdEf#github",
        ] {
            assert_eq!(SecretReference::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_secret_is_no_reference_and_is_not_repeated() {
        for text in
            ["canary", "whsec_canary", "user:canary", "env:canary-1", "file:canary", "secretsmanager:#canary"]
        {
            let why = SecretReference::parse(text).unwrap_err();
            assert!(!why.contains("canary"), "{why}");
        }
        for text in
            ["", "env:", "env:1A", "file:", "secretsmanager:", "secretsmanager:a b", "secretsmanager:a#"]
        {
            assert!(SecretReference::parse(text).is_err(), "{text}");
        }
    }
}
