//! Why a delivery is refused: problem details by RFC 9457.

use std::borrow::Cow;

use millrace_webhook::content::BodyError;

/// The kinds of refusal. A kind has a status and a stable name. The detail describes the particular case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    EmptyBody,
    /// The body is not JSON, or does not have the form of its type.
    MalformedBody,
    /// The gateway marks the body as base64, and it is not valid base64.
    InvalidBase64,
    Unauthorized,
    UnknownPath,
    UnknownSource,
    MethodNotAllowed,
    BodyTooLarge,
    UnsupportedMediaType,
    TooManyRequests,
    Internal,
    Unavailable,
}

impl ProblemKind {
    pub const ALL: [ProblemKind; 12] = [
        ProblemKind::EmptyBody,
        ProblemKind::MalformedBody,
        ProblemKind::InvalidBase64,
        ProblemKind::Unauthorized,
        ProblemKind::UnknownPath,
        ProblemKind::UnknownSource,
        ProblemKind::MethodNotAllowed,
        ProblemKind::BodyTooLarge,
        ProblemKind::UnsupportedMediaType,
        ProblemKind::TooManyRequests,
        ProblemKind::Internal,
        ProblemKind::Unavailable,
    ];

    pub fn status(self) -> u16 {
        match self {
            ProblemKind::EmptyBody | ProblemKind::MalformedBody | ProblemKind::InvalidBase64 => 400,
            ProblemKind::Unauthorized => 401,
            ProblemKind::UnknownPath | ProblemKind::UnknownSource => 404,
            ProblemKind::MethodNotAllowed => 405,
            ProblemKind::BodyTooLarge => 413,
            ProblemKind::UnsupportedMediaType => 415,
            ProblemKind::TooManyRequests => 429,
            ProblemKind::Internal => 500,
            ProblemKind::Unavailable => 503,
        }
    }

    /// The `type`: the same for all problems of this kind, for programs to compare.
    pub fn type_uri(self) -> &'static str {
        match self {
            ProblemKind::EmptyBody => "urn:millrace:problem:empty-body",
            ProblemKind::MalformedBody => "urn:millrace:problem:malformed-body",
            ProblemKind::InvalidBase64 => "urn:millrace:problem:invalid-base64",
            ProblemKind::Unauthorized => "urn:millrace:problem:unauthorized",
            ProblemKind::UnknownPath => "urn:millrace:problem:unknown-path",
            ProblemKind::UnknownSource => "urn:millrace:problem:unknown-source",
            ProblemKind::MethodNotAllowed => "urn:millrace:problem:method-not-allowed",
            ProblemKind::BodyTooLarge => "urn:millrace:problem:body-too-large",
            ProblemKind::UnsupportedMediaType => "urn:millrace:problem:unsupported-media-type",
            ProblemKind::TooManyRequests => "urn:millrace:problem:too-many-requests",
            ProblemKind::Internal => "urn:millrace:problem:internal",
            ProblemKind::Unavailable => "urn:millrace:problem:unavailable",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            ProblemKind::EmptyBody => "The body is empty",
            ProblemKind::MalformedBody => "The body does not match its content type",
            ProblemKind::InvalidBase64 => "The body is not valid base64",
            ProblemKind::Unauthorized => "The delivery could not be verified",
            ProblemKind::UnknownPath => "Unknown path",
            ProblemKind::UnknownSource => "Unknown source",
            ProblemKind::MethodNotAllowed => "Method not allowed",
            ProblemKind::BodyTooLarge => "The body is too large",
            ProblemKind::UnsupportedMediaType => "The body is of a type that cannot be stored",
            ProblemKind::TooManyRequests => "Too many requests",
            ProblemKind::Internal => "Internal error",
            ProblemKind::Unavailable => "The delivery could not be stored",
        }
    }
}

/// The authentication scheme that the sender must use, for `WWW-Authenticate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    Bearer,
    Basic,
}

impl Challenge {
    pub fn header(self) -> &'static str {
        match self {
            Challenge::Bearer => r#"Bearer realm="webhooks""#,
            Challenge::Basic => r#"Basic realm="webhooks", charset="UTF-8""#,
        }
    }
}

/// One refusal. Its detail helps the sender and contains nothing of the body, of secrets, or of the implementation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    pub detail: Cow<'static, str>,
    /// Seconds. Always present when a retry can succeed.
    pub retry_after: Option<u32>,
    pub challenge: Option<Challenge>,
}

/// The default: a fail-over is half finished after this time.
const RETRY_AFTER_SECONDS: u32 = 30;

impl Problem {
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = match kind {
            ProblemKind::TooManyRequests | ProblemKind::Unavailable => Some(RETRY_AFTER_SECONDS),
            _ => None,
        };
        Problem { kind, detail: detail.into(), retry_after, challenge: None }
    }

    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(ProblemKind::MalformedBody, detail)
    }

    pub fn unauthorized(detail: impl Into<Cow<'static, str>>, challenge: Option<Challenge>) -> Self {
        Problem { challenge, ..Problem::new(ProblemKind::Unauthorized, detail) }
    }

    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Problem { retry_after: Some(seconds), ..self }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let kind = match &error {
            BodyError::Empty => ProblemKind::EmptyBody,
            BodyError::Malformed(_) => ProblemKind::MalformedBody,
            BodyError::Unsupported(_) => ProblemKind::UnsupportedMediaType,
        };
        Problem::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_described_as_it_is_answered() {
        let description = include_str!("../../../docs/openapi.yaml");
        let listed = description.matches("- urn:millrace:problem:").count();
        assert_eq!(listed, ProblemKind::ALL.len());
        for kind in ProblemKind::ALL {
            let example = format!("type: {}\n", kind.type_uri());
            let Some((_, rest)) = description.split_once(&example) else { panic!("no example of {kind:?}") };
            let mut lines = rest.lines().map(str::trim);
            assert_eq!(lines.next(), Some(&*format!("title: {}", kind.title())));
            assert_eq!(lines.next(), Some(&*format!("status: {}", kind.status())));
            assert!(description.contains(&format!("        \"{}\":\n", kind.status())), "{kind:?}");
        }
    }
}
