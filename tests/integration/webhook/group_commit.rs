//! Many deliveries at once: one commit for many, and each of them once.

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
    // Of one source and event type a flush makes one batch.
    let batches = fixture.batch_count().await;
    assert!((1..64).contains(&batches), "{batches} commits for 64 deliveries");
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gathers_while_a_commit_is_under_way_shares_a_flush_with_a_batch_for_each_event_type() {
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
        // The first flush waits for the lock; let the rest come in behind it.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        block.batch_execute("commit").await.expect("release");
    };
    let (replies, ()) = futures_util::join!(join_all(posts), release);
    assert!(replies.iter().all(|reply| reply.event_ids().len() == 1));
    assert_eq!(fixture.counted().await, (0..40).map(|n| (n, 1)).collect());
    // The first flush took what was there when it began, and the second all that had come meanwhile.
    let flushes = fixture.number("select count(distinct received_at) from staging.batches").await;
    assert!((2..10).contains(&flushes), "{flushes} flushes of 40 deliveries");
    assert!(fixture.batch_count().await <= 2 * flushes);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_delivery_sixteen_times_at_once_is_stored_once_and_known_fifteen_times() {
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
async fn where_a_source_says_so_a_known_body_is_a_duplicate_under_any_id() {
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
    // Another source knows nothing of it; by default the body decides for Shopify, and for nobody else that has an id.
    for (source, became) in [("github", "stored"), ("standard", "stored"), ("shopify", "duplicate")] {
        client.deliver(source, "first", r#"{"a":1}"#).await.was(202, "stored");
        client.deliver(source, "second", r#"{"a":1}"#).await.was(202, became);
    }
    assert_eq!(fixture.row_count().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_a_duplicate_stands_in_the_way_of_no_other() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    client.deliver("shopify", "first", r#"{"a":1}"#).await.was(202, "stored");
    // Whoever has seen that body may send it again under an id that is still to come, or a body still to come under that id.
    client.deliver("shopify", "second", r#"{"a":1}"#).await.was(202, "duplicate");
    client.deliver("shopify", "first", r#"{"a":2}"#).await.was(202, "duplicate");
    client.deliver("shopify", "second", r#"{"a":3}"#).await.was(202, "stored");
    client.deliver("shopify", "third", r#"{"a":2}"#).await.was(202, "stored");
    assert_eq!(fixture.row_count().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_that_was_waited_for_leaves_no_key_behind() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    client.deliver("shopify", "warm", "{}").await.was(202, "stored");
    // Another environment has the same id under proxied, with another body.
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
    // That body may still come under an id of its own.
    client.deliver("shopify", "second", r#"{"a":1}"#).await.was(202, "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_environments_with_the_same_deliveries_store_each_once_and_never_wait_for_each_other_forever() {
    let fixture = WebhookFixture::new().await;
    let clients = [fixture.open(&[]).await, fixture.open(&[]).await];
    // The one begins where the other ends; two keys each.
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
