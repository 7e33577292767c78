//! Under load, sessions and the function itself are killed: every 2xx delivery is in the database or in the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicUsize};

use futures_util::stream::{self, StreamExt};
use http::HeaderMap;
use serde_json::Value;

use super::client::{Form, Reply, TIME, WebhookClient, request};
use super::fixture::{WebhookFixture, signed};

const DELIVERIES: usize = 300;

fn delivery(n: usize) -> Value {
    let body = format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(300));
    let headers: HeaderMap = signed("shopify", &format!("id-{n}"), body.as_bytes());
    request("POST", "/webhooks/shopify", &headers, body.as_bytes(), Form::Plain)
}

/// Posts these deliveries, 32 concurrently. Ends the function's sessions after every tenth response, and the function
/// itself after response number `last`. Returns `None` for requests without a response.
async fn post_all(
    fixture: &WebhookFixture,
    client: &WebhookClient,
    numbers: impl IntoIterator<Item = usize>,
    last: Option<usize>,
) -> BTreeMap<usize, Option<Reply>> {
    let (answered, ended) = (&AtomicUsize::new(0), &AtomicI64::new(0));
    let replies: BTreeMap<usize, Option<Reply>> = stream::iter(numbers)
        .map(|n| async move {
            let reply = client.try_send(&delivery(n), TIME).await;
            let count = answered.fetch_add(usize::from(reply.is_some()), Relaxed) + 1;
            if reply.is_some() && last == Some(count) {
                client.function.kill();
            }
            if reply.is_some() && count % 10 == 0 {
                ended.fetch_add(fixture.end_sessions().await, Relaxed);
            }
            (n, reply)
        })
        .buffer_unordered(32)
        .collect()
        .await;
    assert!(ended.load(Relaxed) >= 3, "{ended:?} sessions ended in {answered:?} deliveries");
    replies
}

/// Every acknowledged delivery is a row or a dead letter. No delivery is stored twice. Refused deliveries got 503.
async fn all_is_accounted_for(fixture: &WebhookFixture, replies: &BTreeMap<usize, Reply>) {
    let rows = fixture.counted().await;
    assert!(rows.values().all(|count| *count == 1), "stored twice: {rows:?}");
    let dead_letters = fixture.aws.dead_letters().await;
    let queued: BTreeSet<&str> =
        dead_letters.iter().filter_map(|dead_letter| dead_letter.origin.delivery_id.as_deref()).collect();
    for (n, reply) in replies {
        let (stored, queued) = (rows.contains_key(&(*n as i64)), queued.contains(&*format!("id-{n}")));
        match (reply.status, reply.became()) {
            (202, "stored" | "duplicate") => assert!(stored, "{n} is lost: {reply:?}"),
            (202, "queued") => assert!(queued, "{n} is lost: {reply:?}"),
            (status, _) => assert_eq!(status, 503, "{reply:?}"),
        }
    }
    assert_eq!(replies.len(), DELIVERIES);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_end_again_and_again_lose_no_acknowledged_delivery() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let replies = post_all(&fixture, &client, 0..DELIVERIES, None).await;
    let replies = replies.into_iter().map(|(n, reply)| (n, reply.expect("the function runs"))).collect();
    all_is_accounted_for(&fixture, &replies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_killed_in_the_middle_loses_nothing_that_it_answered() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let first = post_all(&fixture, &client, 0..DELIVERIES, Some(150)).await;
    let unanswered: Vec<usize> = first.iter().filter(|(_, reply)| reply.is_none()).map(|(n, _)| *n).collect();
    assert!(!unanswered.is_empty() && unanswered.len() < DELIVERIES, "{} unanswered", unanswered.len());
    let successor = fixture.open(&[]).await;
    let second = post_all(&fixture, &successor, unanswered, None).await;
    let answered = first.into_iter().filter_map(|(n, reply)| Some((n, reply?)));
    let again = second.into_iter().map(|(n, reply)| (n, reply.expect("the successor runs")));
    all_is_accounted_for(&fixture, &answered.chain(again).collect()).await;
}
