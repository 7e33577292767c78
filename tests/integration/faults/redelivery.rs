//! An upload whose function was killed, or whose database was unavailable, is delivered again within seconds, and not
//! after the visibility timeout of the queue.

use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use millrace_tests::proxy::{Direction, Proxy};
use serde_json::{Value, json};

use crate::stack::{LONG, Stack, accepted, id, orders};

/// As Lambda's event source mapping: receives from the upload queue and builds the event of the message.
async fn receive(stack: &Stack, wait: Duration) -> Option<Value> {
    let receive = stack.aws.clients.sqs.receive_message().queue_url(&stack.aws.upload_queue_url);
    let received = receive
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .wait_time_seconds(i32::try_from(wait.as_secs()).expect("seconds"))
        .send()
        .await
        .expect("receive");
    let message = received.messages().first()?;
    let count =
        &message.attributes().expect("attributes")[&MessageSystemAttributeName::ApproximateReceiveCount];
    Some(json!({ "Records": [{
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": { "ApproximateReceiveCount": count },
        "eventSource": "aws:sqs",
    }] }))
}

/// Deletes the message of an event, as Lambda does after a response without failures.
async fn delete(stack: &Stack, event: &Value) {
    let delete = stack.aws.clients.sqs.delete_message().queue_url(&stack.aws.upload_queue_url);
    let receipt = event["Records"][0]["receiptHandle"].as_str().expect("a receipt");
    delete.receipt_handle(receipt).send().await.expect("delete");
}

fn receive_count(event: &Value) -> &Value {
    &event["Records"][0]["attributes"]["ApproximateReceiveCount"]
}

/// A stack with a file of 300 records in its bucket. Its queue hides a message for half an hour, as in the template.
async fn stack_with_upload() -> (Stack, String) {
    let stack = Stack::new().await;
    let set = stack.aws.clients.sqs.set_queue_attributes().queue_url(&stack.aws.upload_queue_url);
    set.attributes(QueueAttributeName::VisibilityTimeout, "1800").send().await.expect("set the timeout");
    let file = orders(300);
    let put = stack.aws.clients.s3.put_object().bucket(&stack.aws.bucket).key("incoming/shop/orders/a.csv");
    put.body(file.clone().into_bytes().into()).send().await.expect("put an object");
    // S3 sends a test event when a queue is configured. It is delivered before the upload.
    let test_event = receive(&stack, Duration::from_secs(20)).await.expect("the test event");
    assert!(test_event["Records"][0]["body"].as_str().is_some_and(|body| body.contains("s3:TestEvent")));
    delete(&stack, &test_event).await;
    (stack, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_met_a_silent_database_is_delivered_again_within_seconds() {
    let (stack, file) = stack_with_upload().await;
    let database = Proxy::start(stack.database.port()).await;
    let url = database.instead_of(stack.database.port(), &stack.database.url_for("millrace_ingest"));
    let function = stack.function(&[("DATABASE_URL", &url)]).await;
    database.stop(&[Direction::ToServer, Direction::ToClient]);
    for delivery in ["1", "2"] {
        let event = receive(&stack, Duration::from_secs(20)).await.expect("the upload");
        assert_eq!(receive_count(&event), delivery);
        let answer = function.invoke(&event, Duration::from_millis(1_500)).await.response();
        assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": id(&event) }] }));
    }
    database.pass();
    let event = receive(&stack, Duration::from_secs(20)).await.expect("the third delivery");
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    delete(&stack, &event).await;
    stack.holds(&file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_function_is_killed_is_delivered_again_within_seconds() {
    let (stack, file) = stack_with_upload().await;
    let database = Proxy::start(stack.database.port()).await;
    let url = database.instead_of(stack.database.port(), &stack.database.url_for("millrace_ingest"));
    let function = stack.function(&[("DATABASE_URL", &url), ("MILLRACE_MESSAGE_VISIBILITY", "1 s")]).await;
    database.stop(&[Direction::ToServer, Direction::ToClient]);
    let event = receive(&stack, Duration::from_secs(20)).await.expect("the upload");
    let killed = function.invoke(&event, LONG);
    let deliver = async {
        // The function works for longer than a second, and its message stays hidden.
        assert_eq!(receive(&stack, Duration::from_secs(2)).await, None);
        function.kill();
        receive(&stack, Duration::from_secs(20)).await.expect("the second delivery")
    };
    let (_, event) = futures_util::join!(killed, deliver);
    assert_eq!(receive_count(&event), "2");
    assert_eq!(stack.function(&[]).await.invoke(&event, LONG).await.response(), accepted());
    stack.holds(&file).await;
}
