//! Concurrent deliveries share commits, and each is stored once.

use futures_util::future::join_all;

use super::client::Form;
use super::fixture::{WebhookFixture, signed};

fn body(n: usize) -> String {
    format!(r#"{{"n":{n}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_deliveries_share_commits_and_each_is_a_row() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let bodies: Vec<String> = (0..64).map(body).collect();
    let posts =
        bodies.iter().enumerate().map(async |(n, body)| client.deliver("orders", &n.to_string(), body).await);
    let mut ids: Vec<i64> = join_all(posts).await.iter().flat_map(|reply| reply.event_ids()).collect();
    ids.sort_unstable();
    assert_eq!(ids, fixture.rows().await.iter().map(|row| row.id).collect::<Vec<_>>());
    assert_eq!(fixture.counted().await, (0..64).map(|n| (n, 1)).collect());
    // A flush makes one batch for a source and event type.
    let batches = fixture.batch_count().await;
    assert!((1..64).contains(&batches), "{batches} commits for 64 deliveries");
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_arrive_during_a_commit_share_a_flush_with_a_batch_per_event_type() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[("MILLRACE_DATABASE_TIMEOUT", "15 s")]).await;
    let block = fixture.block().await;
    let posts = (0..40).map(async |n: usize| {
        let body = body(n);
        let mut headers = signed("orders", &n.to_string(), body.as_bytes());
        headers.insert("x-kind", ["paid", "shipped"][n % 2].parse().expect("a value"));
        client.post("orders", &headers, body.as_bytes(), Form::Plain).await
    });
    let release = async {
        fixture.until_blocked().await;
        // The first flush waits for the lock while the others arrive.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        block.batch_execute("commit").await.expect("release");
    };
    let (replies, ()) = futures_util::join!(join_all(posts), release);
    assert!(replies.iter().all(|reply| reply.event_ids().len() == 1));
    assert_eq!(fixture.counted().await, (0..40).map(|n| (n, 1)).collect());
    // The first flush has the deliveries that were waiting when it started. The second has all later ones.
    let flushes = fixture.number("select count(distinct received_at) from staging.batches").await;
    assert!((2..10).contains(&flushes), "{flushes} flushes of 40 deliveries");
    assert!(fixture.batch_count().await <= 2 * flushes);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_concurrent_copies_of_a_delivery_are_stored_once() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    for source in ["orders", "github", "bearer"] {
        let headers = signed(source, "the-same", b"{}");
        let posts = (0..16).map(|_| client.post(source, &headers, b"{}", Form::Plain));
        let replies = join_all(posts).await;
        let became = |what: &str| replies.iter().filter(|reply| reply.became() == what).count();
        assert_eq!((became("stored"), became("duplicate")), (1, 15), "{source}");
    }
    assert_eq!(fixture.row_count().await, 3);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_weighs_what_was_stored_without_the_duplicates_that_shared_its_flush() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[("MILLRACE_DATABASE_TIMEOUT", "15 s")]).await;
    let bodies: Vec<String> =
        (0..20).map(|n| format!(r#"{{"n":{n}, "text":"{}"}}"#, "é".repeat(n))).collect();
    let deliver = async |n: usize| client.deliver("orders", &n.to_string(), &bodies[n]).await;
    for n in 0..5 {
        deliver(n).await.was(202, "stored");
    }
    let block = fixture.block().await;
    let posts = join_all((0..20).map(deliver));
    let release = async {
        fixture.until_blocked().await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        block.batch_execute("commit").await.expect("release");
    };
    let (replies, ()) = futures_util::join!(posts, release);
    for (n, reply) in replies.iter().enumerate() {
        reply.was(202, if n < 5 { "duplicate" } else { "stored" });
    }
    let bytes: usize = bodies.iter().map(String::len).sum();
    assert_eq!(fixture.number("select sum(payload_bytes)::bigint from staging.batches").await, bytes as i64);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_can_treat_a_known_body_as_a_duplicate_under_any_id() {
    let fixture = WebhookFixture::with_sources(
        "[guarded.webhook]\npreset = 'github'\nsecret = 'env:SECRET_GITHUB'\ndedupe = 'id+body'",
    )
    .await;
    let client = fixture.open(&[]).await;
    let guarded = async |id: &str, body: &[u8]| {
        client.post("guarded", &signed("github", id, body), body, Form::Plain).await
    };
    guarded("first", br#"{"a":1}"#).await.was(202, "stored");
    guarded("second", br#"{"a":1}"#).await.was(202, "duplicate");
    guarded("first", br#"{"a":2}"#).await.was(202, "duplicate");
    // Another source has its own keys. By default the body is the key for Shopify, and for no other preset that has an
    // id.
    for (source, became) in [("github", "stored"), ("standard", "stored"), ("shopify", "duplicate")] {
        client.deliver(source, "first", r#"{"a":1}"#).await.was(202, "stored");
        client.deliver(source, "second", r#"{"a":1}"#).await.was(202, became);
    }
    assert_eq!(fixture.row_count().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_blocks_no_other_delivery() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    client.deliver("shopify", "first", r#"{"a":1}"#).await.was(202, "stored");
    // A sender that has seen the body may send it under an id that is used later, or send a later body under that id.
    client.deliver("shopify", "second", r#"{"a":1}"#).await.was(202, "duplicate");
    client.deliver("shopify", "first", r#"{"a":2}"#).await.was(202, "duplicate");
    client.deliver("shopify", "second", r#"{"a":3}"#).await.was(202, "stored");
    client.deliver("shopify", "third", r#"{"a":2}"#).await.was(202, "stored");
    assert_eq!(fixture.row_count().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_of_a_concurrent_flush_leaves_no_key() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    client.deliver("shopify", "warm", "{}").await.was(202, "stored");
    // Another environment is storing the same id with another body.
    let other = fixture.session().await;
    other
        .batch_execute(
            "begin; insert into staging.deliveries (source, delivery_key, received_at, expires_at)
             values ('shopify', 'id:first', now(), now() + interval '1 day')",
        )
        .await
        .expect("claim a key");
    let release = async {
        fixture.until_blocked().await;
        other.batch_execute("commit").await.expect("release");
    };
    let (reply, ()) = futures_util::join!(client.deliver("shopify", "first", r#"{"a":1}"#), release);
    reply.was(202, "duplicate");
    // That body may still arrive under its own id.
    client.deliver("shopify", "second", r#"{"a":1}"#).await.was(202, "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_environments_with_the_same_deliveries_store_each_once_without_deadlock() {
    let fixture = WebhookFixture::new().await;
    let clients = [fixture.open(&[]).await, fixture.open(&[]).await];
    // The order of one is the reverse of the other, with two keys each.
    let posts = (0..120).flat_map(|n: usize| {
        let deliver = async |client: &super::client::WebhookClient, n: usize| {
            client.deliver("shopify", &format!("id-{n}"), &body(n)).await
        };
        [deliver(&clients[0], n), deliver(&clients[1], 119 - n)]
    });
    let replies = join_all(posts).await;
    let became = |what: &str| replies.iter().filter(|reply| reply.became() == what).count();
    assert_eq!((became("stored"), became("duplicate")), (120, 120));
    assert_eq!(fixture.counted().await, (0..120).map(|n| (n, 1)).collect());
    fixture.reconciles().await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(fixture.number(deadlocks).await, 0);
}
