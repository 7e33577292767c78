//! Reading `[<source>.webhook]`.

use std::time::Duration;

use millrace_jsonb::{InvalidCharacters, JsonPointer};
use millrace_webhook::{
    Algorithm, Content, Dedupe, DeliveryIdRule, Encoding, EventTypeRule, Preset, Scheme, ValueLocation,
};
use toml::de::DeTable;

use crate::config::document::{Document, TomlKey, TomlValue, set};
use crate::config::names::{check_name, quoted};
use crate::config::secret_reference::SecretReference;
use crate::config::webhook::WebhookSource;

/// Keys of `[<source>.webhook]`.
pub const KEYS: &[&str] = &[
    "preset",
    "secret",
    "header",
    "encoding",
    "prefix",
    "algorithm",
    "tolerance_seconds",
    "delivery_id",
    "event_type",
    "records",
    "content",
    "dedupe",
    "dedupe_days",
    "invalid_characters",
];

/// Large enough for wrong clocks, small enough to limit the replay of recorded deliveries.
const MAX_TOLERANCE_SECONDS: u64 = 86_400;
const MAX_DEDUPE_DAYS: u64 = 365;

/// Returns `None` if the table is invalid. The document then has the problems.
pub(super) fn read<'t>(
    document: &mut Document<'t>,
    name: &TomlKey<'t>,
    input: &TomlKey<'t>,
    table: &DeTable<'t>,
) -> Option<WebhookSource> {
    for (key, _) in table {
        if !KEYS.contains(&key.get_ref().as_ref()) {
            document.unknown_key(key, KEYS);
        }
    }
    let value = |wanted: &str| table.iter().find(|(key, _)| key.get_ref() == wanted).map(|(_, value)| value);

    let secrets = match value("secret") {
        Some(value) => read_secrets(document, value),
        None => {
            document.problem(
                input.span(),
                "`secret` is missing: without a secret, anyone could post events. Set a reference: \
                 `env:NAME`, `file:/path` or `secretsmanager:NAME`",
            );
            Vec::new()
        }
    };
    let content = value("content")
        .and_then(|value| {
            let choices = [
                ("auto", Content::Auto),
                ("json", Content::Json),
                ("ndjson", Content::Ndjson),
                ("form", Content::Form),
                ("cloudevents", Content::Cloudevents),
            ];
            document.choice(value, &choices)
        })
        .unwrap_or_default();
    let Some(preset) = value("preset") else {
        let names = Preset::ALL.map(Preset::name).join(", ");
        document.problem(input.span(), format!("`preset` is missing: one of {names}"));
        return None;
    };
    let preset = document.choice(preset, &Preset::ALL.map(|preset| (preset.name(), preset)))?;
    let scheme = read_scheme(document, preset, input, table)?;

    let mut source = WebhookSource::new(name.get_ref(), scheme, content);
    source.secrets = secrets;
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "delivery_id" => set(
                &mut source.delivery_id,
                rules(document, value, DELIVERY_ID_FORMS, |text| match text {
                    "body" => Ok(DeliveryIdRule::Body),
                    text => places(text, DELIVERY_ID_FORMS).map(DeliveryIdRule::Places),
                }),
            ),
            "event_type" => {
                set(&mut source.event_type, rules(document, value, EVENT_TYPE_FORMS, event_type_rule));
            }
            "records" => {
                let pointer = document.string(value).map(JsonPointer::parse);
                match pointer {
                    Some(Ok(pointer)) => source.records = Some(pointer),
                    Some(Err(why)) => document.problem(value.span(), format!("a JSON pointer {why}")),
                    None => {}
                }
            }
            "dedupe" => set(
                &mut source.dedupe,
                document.choice(value, &[("id", Dedupe::Id), ("id+body", Dedupe::IdAndBody)]),
            ),
            "dedupe_days" => match document.whole_number(value, MAX_DEDUPE_DAYS) {
                Some(0) => document.problem(value.span(), "expected at least one day"),
                days => set(&mut source.dedupe_days, days.and_then(|days| u16::try_from(days).ok())),
            },
            "invalid_characters" => set(
                &mut source.invalid_characters,
                document.choice(
                    value,
                    &[("reject", InvalidCharacters::Reject), ("replace", InvalidCharacters::Replace)],
                ),
            ),
            _ => {}
        }
    }
    Some(source)
}

/// Reads the scheme with the keys that only some presets have. A key that the preset does not have is a problem.
fn read_scheme<'t>(
    document: &mut Document<'t>,
    preset: Preset,
    input: &TomlKey<'t>,
    table: &DeTable<'t>,
) -> Option<Scheme> {
    let mut tolerance = Duration::from_secs(300);
    let mut header = None;
    let mut encoding = Encoding::default();
    let mut prefix = String::new();
    let mut algorithm = Algorithm::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let goes_with: &[Preset] = match name {
            "tolerance_seconds" => &[Preset::Standard, Preset::Stripe, Preset::Slack],
            "header" => &[Preset::Hmac, Preset::ApiKey],
            "encoding" | "prefix" | "algorithm" => &[Preset::Hmac],
            _ => continue,
        };
        if !goes_with.contains(&preset) {
            let names: Vec<&str> = goes_with.iter().map(|preset| preset.name()).collect();
            document.problem(
                key.span(),
                format!("preset {preset} has no key `{name}`; it is a key of {}", names.join(", ")),
            );
            continue;
        }
        match name {
            "tolerance_seconds" => match document.whole_number(value, MAX_TOLERANCE_SECONDS) {
                Some(0) => document.problem(value.span(), "expected at least one second"),
                seconds => set(&mut tolerance, seconds.map(Duration::from_secs)),
            },
            "header" => {
                header = document.string(value).map(str::to_owned);
                if let Some(Err(why)) = header.as_deref().map(check_header) {
                    document.problem(value.span(), why);
                }
            }
            "encoding" => set(
                &mut encoding,
                document.choice(value, &[("hex", Encoding::Hex), ("base64", Encoding::Base64)]),
            ),
            "prefix" => set(&mut prefix, document.string(value).map(str::to_owned)),
            _ => set(
                &mut algorithm,
                document.choice(
                    value,
                    &[
                        ("sha256", Algorithm::Sha256),
                        ("sha512", Algorithm::Sha512),
                        ("sha1", Algorithm::Sha1),
                    ],
                ),
            ),
        }
    }
    Some(match preset {
        Preset::Standard => Scheme::Standard { tolerance },
        Preset::Github => Scheme::Github,
        Preset::Stripe => Scheme::Stripe { tolerance },
        Preset::Shopify => Scheme::Shopify,
        Preset::Slack => Scheme::Slack { tolerance },
        Preset::Hmac => {
            let Some(header) = header else {
                document.problem(
                    input.span(),
                    "`header` is missing: preset hmac requires the name of the header with the signature, such as `X-Signature`",
                );
                return None;
            };
            Scheme::Hmac { header, encoding, prefix, algorithm }
        }
        Preset::Bearer => Scheme::Bearer,
        Preset::Basic => Scheme::Basic,
        Preset::ApiKey => Scheme::ApiKey { header: header.unwrap_or_else(|| "X-API-Key".to_owned()) },
    })
}

fn read_secrets(document: &mut Document<'_>, value: &TomlValue<'_>) -> Vec<SecretReference> {
    let texts = match value.get_ref().as_array() {
        Some(_) => document.strings(value),
        None => document.string(value).map(|text| vec![text.to_owned()]),
    };
    let Some(texts) = texts else { return Vec::new() };
    if !(1..=2).contains(&texts.len()) {
        document.problem(value.span(), "expected one secret, or two during a rotation");
    }
    let mut secrets = Vec::new();
    for text in texts {
        match SecretReference::parse(&text) {
            Ok(reference) => secrets.push(reference),
            Err(why) => document.problem(value.span(), why),
        }
    }
    secrets
}

const DELIVERY_ID_FORMS: &str = "`header:NAME`, `pointer:/PATH` or `body`";
const EVENT_TYPE_FORMS: &str = "`header:NAME`, `pointer:/PATH` or a name";

/// One rule, or a list of rules, of which the first that applies is used.
fn rules<R>(
    document: &mut Document<'_>,
    value: &TomlValue<'_>,
    forms: &str,
    parse: impl Fn(&str) -> Result<R, String>,
) -> Option<Vec<R>> {
    let texts = match value.get_ref().as_array() {
        Some(_) => document.strings(value)?,
        None => vec![document.string(value)?.to_owned()],
    };
    if texts.is_empty() {
        document.problem(value.span(), format!("expected {forms}"));
    }
    let mut rules = Vec::new();
    for text in texts {
        match parse(&text) {
            Ok(rule) => rules.push(rule),
            Err(why) => document.problem(value.span(), why),
        }
    }
    Some(rules)
}

fn event_type_rule(text: &str) -> Result<EventTypeRule, String> {
    if text.starts_with("header:") || text.starts_with("pointer:") {
        return places(text, EVENT_TYPE_FORMS).map(EventTypeRule::Places);
    }
    match check_name(text) {
        Ok(()) => Ok(EventTypeRule::Constant(text.to_owned())),
        Err(why) => Err(format!("the event type {} {why}; expected {EVENT_TYPE_FORMS}", quoted(text))),
    }
}

/// `header:X-GitHub-Event + pointer:/action`
fn places(text: &str, forms: &str) -> Result<Vec<ValueLocation>, String> {
    text.split(" + ")
        .map(|place| match place.trim().split_once(':') {
            Some(("header", name)) => check_header(name).map(|()| ValueLocation::Header(name.to_owned())),
            Some(("pointer", text)) => JsonPointer::parse(text)
                .map(ValueLocation::Pointer)
                .map_err(|why| format!("the JSON pointer {} {why}", quoted(text))),
            _ => Err(format!("{} is neither of {forms}", quoted(place))),
        })
        .collect()
}

/// Header names are tokens, by RFC 9110.
fn check_header(name: &str) -> Result<(), String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(token) {
        return Err(format!("{} is not the name of a header", quoted(name)));
    }
    Ok(())
}
