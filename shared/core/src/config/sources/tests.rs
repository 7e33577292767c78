use std::time::Duration;

use millrace_jsonb::JsonPointer;
use millrace_webhook::{
    Algorithm, Content, Dedupe, DeliveryIdRule, Encoding, EventTypeRule, Preset, Scheme, ValueLocation,
};
use proptest::prelude::*;

use super::*;
use crate::config::secret_reference::SecretReference;

fn problems(text: &str) -> Vec<String> {
    let error = Sources::parse("sources.toml", text).expect_err(text);
    assert_eq!(error.kind(), Kind::Config);
    error.message().lines().map(str::to_owned).collect()
}

fn route(sources: &Sources, key: &str) -> CsvRoute {
    match sources.route(key) {
        ObjectRoute::Csv(route) => route,
        ObjectRoute::Unroutable { reason } => panic!("{key}: {reason}"),
    }
}

#[test]
fn the_sample_declares_every_key() {
    let sample = include_str!("../../../../../pipeline/sources.toml");
    Sources::parse("sources.toml", sample).expect("the sample is right");
    let guide = include_str!("../../../../../docs/configuration.md");
    for key in OPTION_KEYS.iter().chain(CSV_KEYS) {
        assert!(sample.contains(key), "the sample says nothing of `{key}`");
        assert!(guide.contains(&format!("`{key}`")), "the guide says nothing of `{key}`");
    }
}

#[test]
fn every_problem_is_named_at_its_place_with_the_nearest_right_name() {
    let text = "\
[shop.csv]
delimeter = ';'
ragged = 'fil'
max_rejected_share = 2
skip_lines = -1
header = []
[shop.csv.columns]
amount = 'numbr'
[shop.webhok]
['a b'.csv]
";
    assert_eq!(
        problems(text),
        [
            "sources.toml:2:1: unknown key `delimeter`; did you mean `delimiter`?",
            "sources.toml:3:10: `fil` is none of reject, fill; did you mean `fill`?",
            "sources.toml:4:22: expected a share from 0.0 to 1.0",
            "sources.toml:5:14: expected a whole number from 0 to 1000000",
            "sources.toml:6:10: expected at least one column name",
            "sources.toml:8:10: `numbr` is none of string, number, boolean, json; did you mean `number`?",
            "sources.toml:9:7: unknown key `webhok`; did you mean `webhook`?",
            "sources.toml:10:2: the source `a b` contains ' ': only ASCII letters, digits, `_`, `-` and `.` are allowed",
        ]
    );
}

#[test]
fn what_is_not_toml_is_named_at_its_place() {
    let found = problems("[shop.csv]\nquote = \n");
    assert!(found[0].starts_with("sources.toml:2:"), "{found:?}");
}

#[test]
fn two_sources_cannot_claim_one_path() {
    let found = problems(
        "[a.csv]\npath = 'incoming/x/*.csv'\nevent_type = 'e'\n[b.csv]\npath = 'incoming/x/a*'\nevent_type = 'e'\n",
    );
    assert_eq!(
        found,
        [
            "sources.toml:4:2: the path `incoming/x/a*` and the source `a` match the same key: `incoming/x/a.csv`"
        ]
    );
}

#[test]
fn undeclared_sources_follow_the_convention() {
    let sources = Sources::default();
    let found = route(&sources, "incoming/nyc/flights/2013/ü a+b.csv.gz");
    assert_eq!((found.source.as_str(), found.event_type.as_str()), ("nyc", "flights"));
    for key in [
        "incoming/nyc/flights.csv",
        "other/nyc/flights/a.csv",
        "incoming/n'yc/flights/a.csv",
        "incoming//f/a.csv",
        "",
    ] {
        assert!(matches!(sources.route(key), ObjectRoute::Unroutable { .. }), "{key}");
    }
}

#[test]
fn an_event_type_inherits_what_it_does_not_say() {
    let sources = Sources::parse(
        "s",
        "[shop.csv]\ndelimiter = ';'\nragged = 'fill'\n[shop.csv.event_types.returns]\ndelimiter = '|'\n
         [legacy.csv]\npath = ['incoming/old/*.csv']\nevent_type = 'orders'\nheader = ['a', 'b']\n",
    )
    .unwrap();
    assert_eq!(route(&sources, "incoming/shop/orders/a.csv").options.delimiter.as_deref(), Some(";"));
    let returns = route(&sources, "incoming/shop/returns/a.csv").options;
    assert_eq!((returns.delimiter.as_deref(), returns.ragged), (Some("|"), Ragged::Fill));
    let legacy = route(&sources, "incoming/old/7.csv");
    assert_eq!((legacy.source.as_str(), legacy.event_type.as_str()), ("legacy", "orders"));
    assert_eq!(legacy.options.header, Some(DeclaredHeader::Names(vec!["a".into(), "b".into()])));
}

fn webhook(text: &str) -> WebhookSource {
    let sources = Sources::parse("s", &format!("[a.webhook]\n{text}")).expect(text);
    sources.webhook("a").expect("it is declared").clone()
}

#[test]
fn the_sample_has_a_webhook_for_every_preset_named_after_it() {
    let sample = include_str!("../../../../../pipeline/sources.toml");
    let sources = Sources::parse("sources.toml", sample).expect("the sample is right");
    let guide = include_str!("../../../../../docs/configuration.md");
    for preset in Preset::ALL {
        let source = sources.find_webhook(preset.name()).expect("a sample of each");
        assert_eq!(source.scheme.preset(), preset);
        // infra/template.yaml lets the function read the secrets of this prefix.
        let id = format!("millrace/{preset}");
        assert_eq!(source.secrets, [SecretReference::SecretsManager { id, key: None }]);
        assert!(guide.contains(&format!("`{preset}`")), "the guide says nothing of `{preset}`");
    }
    let (_, kind) = guide.split_once("### `[<source>.webhook]`").expect("a chapter on webhooks");
    for key in WEBHOOK_KEYS {
        assert!(sample.contains(key), "the sample says nothing of `{key}`");
        assert!(kind.contains(&format!("`{key}`")), "the guide says nothing of `{key}`");
    }
}

#[test]
fn every_problem_of_a_webhook_is_named_at_its_place() {
    let text = "\
[a.webhook]
preset = 'githb'
secret = 'canary'
[b.webhook]
[c.webhook]
preset = 'github'
secret = ['env:A', 'env:B', 'env:C']
tolerance_seconds = 3
encoding = 'hex'
delivry_id = 'body'
event_type = 'a b'
[d.webhook]
preset = 'hmac'
secret = []
[e.webhook]
preset = 'slack'
secret = 7
tolerance_seconds = 0
delivery_id = 'X-Id'
event_type = ['header:a b', 'pointer:type']
records = 'events'
content = 'jsn'
dedupe = 'body'
dedupe_days = 0
invalid_characters = 'drop'
";
    let found = problems(text);
    assert_eq!(
        found,
        [
            "sources.toml:2:10: `githb` is none of standard, github, stripe, shopify, slack, hmac, bearer, basic, api_key; did you mean `github`?",
            "sources.toml:3:10: expected `env:NAME`, `file:/path` or `secretsmanager:NAME`: this file is committed and deployed, so it must not contain the secret itself",
            "sources.toml:4:4: `secret` is missing: without a secret, anyone could post events. Set a reference: `env:NAME`, `file:/path` or `secretsmanager:NAME`",
            "sources.toml:4:4: `preset` is missing: one of standard, github, stripe, shopify, slack, hmac, bearer, basic, api_key",
            "sources.toml:7:10: expected one secret, or two during a rotation",
            "sources.toml:8:1: preset github has no key `tolerance_seconds`; it is a key of standard, stripe, slack",
            "sources.toml:9:1: preset github has no key `encoding`; it is a key of hmac",
            "sources.toml:10:1: unknown key `delivry_id`; did you mean `delivery_id`?",
            "sources.toml:11:14: the event type `a b` contains ' ': only ASCII letters, digits, `_`, `-` and `.` are allowed; expected `header:NAME`, `pointer:/PATH` or a name",
            "sources.toml:12:4: `header` is missing: preset hmac requires the name of the header with the signature, such as `X-Signature`",
            "sources.toml:14:10: expected one secret, or two during a rotation",
            "sources.toml:17:10: expected a string, found integer",
            "sources.toml:18:21: expected at least one second",
            "sources.toml:19:15: `X-Id` is neither of `header:NAME`, `pointer:/PATH` or `body`",
            "sources.toml:20:14: `a b` is not the name of a header",
            "sources.toml:20:14: the JSON pointer `type` must begin with `/`, as `/event/type` does",
            "sources.toml:21:11: a JSON pointer must begin with `/`, as `/event/type` does",
            "sources.toml:22:11: `jsn` is none of auto, json, ndjson, form, cloudevents; did you mean `json`?",
            "sources.toml:23:10: `body` is none of id, id+body",
            "sources.toml:24:15: expected at least one day",
            "sources.toml:25:22: `drop` is none of reject, replace",
        ]
    );
}

#[test]
fn a_webhook_has_its_presets_defaults_for_what_it_does_not_say() {
    let header = |name: &str| ValueLocation::Header(name.to_owned());
    let pointer = |text: &str| ValueLocation::Pointer(JsonPointer::parse(text).unwrap());

    let github = webhook("preset = 'github'\nsecret = 'env:A'");
    assert_eq!(github.scheme, Scheme::Github);
    assert_eq!(github.delivery_id, [DeliveryIdRule::Places(vec![header("X-GitHub-Delivery")])]);
    let event_type = EventTypeRule::Places(vec![header("X-GitHub-Event"), pointer("/action")]);
    assert_eq!(github.event_type, [event_type]);
    assert_eq!((github.dedupe, github.dedupe_days), (Dedupe::Id, 15));

    let stripe = webhook("preset = 'stripe'\nsecret = 'env:A'\ntolerance_seconds = 60");
    assert_eq!(stripe.scheme, Scheme::Stripe { tolerance: Duration::from_secs(60) });
    assert_eq!((stripe.dedupe, stripe.content), (Dedupe::Id, Content::Auto));
    let slack = webhook("preset = 'slack'\nsecret = 'env:A'");
    assert_eq!(slack.scheme.tolerance(), Some(Duration::from_secs(300)));

    let hmac = webhook(
        "preset = 'hmac'\nsecret = ['file:/a', 'secretsmanager:b#c']\nheader = 'X-Sig'\nprefix = 'v1='\n\
         encoding = 'base64'\nalgorithm = 'sha512'\ndelivery_id = ['header:X-Id', 'pointer:/id', 'body']\n\
         event_type = ['header:X-A + pointer:/a~1b', 'order']\nrecords = '/events'\ninvalid_characters = 'replace'",
    );
    let scheme = Scheme::Hmac {
        header: "X-Sig".to_owned(),
        encoding: Encoding::Base64,
        prefix: "v1=".to_owned(),
        algorithm: Algorithm::Sha512,
    };
    assert_eq!(hmac.scheme, scheme);
    assert_eq!(hmac.secrets.len(), 2);
    assert_eq!(
        hmac.delivery_id,
        [
            DeliveryIdRule::Places(vec![header("X-Id")]),
            DeliveryIdRule::Places(vec![pointer("/id")]),
            DeliveryIdRule::Body,
        ]
    );
    assert_eq!(
        hmac.event_type,
        [
            EventTypeRule::Places(vec![header("X-A"), pointer("/a~1b")]),
            EventTypeRule::Constant("order".to_owned()),
        ]
    );
    assert_eq!(hmac.records, Some(JsonPointer::parse("/events").unwrap()));

    // Ids of CloudEvents are unique to their source alone.
    let events = webhook("preset = 'bearer'\nsecret = 'env:A'\ncontent = 'cloudevents'");
    let binary = DeliveryIdRule::Places(vec![header("ce-source"), header("ce-id")]);
    assert_eq!(events.delivery_id[0], binary);
}

#[test]
fn a_webhook_that_is_not_declared_is_named_with_the_nearest() {
    let sources =
        Sources::parse("s", "[github.webhook]\npreset = 'github'\nsecret = 'env:A'\n[nyc.csv]").unwrap();
    assert!(sources.webhook("nyc").is_none());
    let error = sources.find_webhook("gihub").unwrap_err();
    assert_eq!(error.message(), "no source `gihub` has a webhook in sources.toml; did you mean `github`?");
    let error = sources.find_webhook("nyc").unwrap_err();
    assert_eq!(error.message(), "no source `nyc` has a webhook in sources.toml; declared are github");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_a_place_inside_it(text in "[a-z.\\[\\]=\"' \n{},0-9ü]{0,120}") {
        if let Err(error) = Sources::parse("f", &text) {
            for line in error.message().lines().filter(|line| line.starts_with("f:")) {
                let row: usize = line.split(':').nth(1).unwrap().parse().unwrap();
                prop_assert!(row <= text.matches('\n').count() + 1);
            }
        }
    }
}
