use super::*;
use proptest::prelude::*;

fn problems(text: &str) -> Vec<String> {
    let error = Sources::parse("sources.toml", text).expect_err(text);
    assert_eq!(error.kind(), Kind::Config);
    error.message().lines().map(str::to_owned).collect()
}

fn route(sources: &Sources, key: &str) -> CsvRoute {
    match sources.route(key) {
        Route::Csv(route) => route,
        Route::Unroutable { reason } => panic!("{key}: {reason}"),
    }
}

#[test]
fn the_sample_declares_every_key() {
    let sample = include_str!("../../../../pipeline/sources.toml");
    Sources::parse("sources.toml", sample).expect("the sample is right");
    let guide = include_str!("../../../../docs/configuration.md");
    for key in OPTION_KEYS.iter().chain(DOOR_KEYS) {
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
            "sources.toml:9:7: unknown key `webhok`; known are csv",
            "sources.toml:10:2: the source `a b` holds ' ': only ASCII letters, digits, `_`, `-` and `.` are allowed",
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
        ["sources.toml:4:2: path `incoming/x/a*` takes keys that `a` takes too: `incoming/x/a.csv`"]
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
        assert!(matches!(sources.route(key), Route::Unroutable { .. }), "{key}");
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
    assert_eq!(legacy.options.header, Some(Header::Names(vec!["a".into(), "b".into()])));
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
