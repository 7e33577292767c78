//! Files without a load, and stuck loads: found on every page of the listing, and announced again on request.

use serde_json::Value;

use super::fixture::DoctorFixture;

/// More than one page of the listing.
const FILES: usize = 1_030;

#[tokio::test]
async fn files_that_never_arrived_are_found_on_every_page_and_can_be_loaded() {
    let fixture = DoctorFixture::new().await;
    fixture.transform().await;
    fixture.refresh().await;
    let s3 = &fixture.aws.clients.s3;
    for n in 0..FILES {
        let put = s3.put_object().bucket(&fixture.aws.bucket).key(format!("incoming/shop/orders/{n:05}.csv"));
        put.body(format!("id\n{n}\n").into_bytes().into()).send().await.unwrap();
    }
    // Only the newest version counts. A folder is not a file. Objects outside incoming/ are ignored.
    for (key, body) in [
        ("incoming/shop/orders/00000.csv", "id\nagain\n"),
        ("incoming/shop/orders/", ""),
        ("other/shop/orders/a.csv", "id\n1\n"),
        ("incoming/nowhere.csv", "id\n1\n"),
    ] {
        s3.put_object()
            .bucket(&fixture.aws.bucket)
            .key(key)
            .body(body.as_bytes().to_vec().into())
            .send()
            .await
            .unwrap();
    }
    // Deleted in the meantime.
    s3.delete_object()
        .bucket(&fixture.aws.bucket)
        .key("incoming/shop/orders/00001.csv")
        .send()
        .await
        .unwrap();
    let uploads = &fixture.aws.upload_queue_url;
    fixture.aws.clients.sqs.purge_queue().queue_url(uploads).send().await.unwrap();

    // No file is old enough yet.
    let young = fixture.millrace(&["doctor"]).await;
    assert_eq!(young.code, Some(0), "{}", young.out);
    assert!(young.out.contains("0 files under incoming/ for 10 min, each in a load"), "{}", young.out);
    let (code, found) = fixture.doctor(&[]).await;
    assert_eq!(code, Some(1));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].found.contains("1,029 files under incoming/"), "{found:#?}");
    assert!(found[0].found.contains("and 1024 more"), "{found:#?}");
    assert_eq!((found[1].level.as_str(), found[1].check.as_str()), ("warning", "files"));
    assert!(
        found[1].found.contains("1 file under incoming/ without a source: incoming/nowhere.csv"),
        "{found:#?}"
    );

    // The check changed nothing. With --load-missing each file is announced once.
    assert_eq!(fixture.aws.continuations().await.len(), 0);
    let (code, found) = fixture.doctor(&["--load-missing"]).await;
    assert_eq!((code, found[0].level.as_str()), (Some(0), "warning"), "{found:#?}");
    let announced = fixture.aws.continuations().await;
    assert_eq!(announced.len(), 1_029);
    let key = |event: &Value| -> String {
        let body: Value = serde_json::from_str(event["Records"][0]["body"].as_str().unwrap()).unwrap();
        body["Records"][0]["s3"]["object"]["key"].as_str().unwrap().to_owned()
    };
    let again = announced.iter().find(|event| key(event).ends_with("/00000.csv")).expect("00000.csv");
    let loader = fixture.function("ingest-csv").await;
    loader.invoke(again, super::fixture::LONG).await.response();
    let rows = "select count(*) from raw_events where payload->>'id' = 'again'";
    assert_eq!(fixture.number(rows).await, 1, "the newest version");
    let (_, found) = fixture.doctor(&[]).await;
    assert!(found[0].found.contains("1,028 files"), "{found:#?}");
}

#[tokio::test]
async fn a_file_that_failed_before_its_load_began_is_left_to_its_dead_letter() {
    let fixture = DoctorFixture::new().await;
    fixture.transform().await;
    fixture.refresh().await;
    let loader = fixture.function("ingest-csv").await;
    fixture.load(&loader, "incoming/shop/orders/cut.csv.gz", vec![0x1f, 0x8b, 8, 0]).await;
    assert_eq!(fixture.number("select count(*) from staging.loads").await, 0);
    let (code, found) = fixture.doctor(&["--load-missing"]).await;
    assert_eq!((code, found.len()), (Some(0), 1), "{found:#?}");
    assert_eq!((found[0].level.as_str(), found[0].check.as_str()), ("warning", "files"));
    assert!(found[0].found.contains("1 file under incoming/ failed"), "{found:#?}");
    assert_eq!(found[0].action, "millrace dead-letters list --kind upload");
    assert_eq!(fixture.aws.continuations().await.len(), 0, "it is not announced again");
    // The check hid no dead letter. Once the dead letter is dropped, the file is missing again.
    assert_eq!(fixture.aws.dead_letters().await.len(), 1);
    let dead_letters = &fixture.aws.dead_letter_queue_url;
    fixture.aws.clients.sqs.purge_queue().queue_url(dead_letters).send().await.unwrap();
    let (code, found) = fixture.doctor(&[]).await;
    assert_eq!((code, found[0].level.as_str()), (Some(1), "problem"), "{found:#?}");
}

#[tokio::test]
async fn a_stuck_load_is_found_and_announced_again() {
    let fixture = DoctorFixture::new().await;
    fixture.transform().await;
    fixture.refresh().await;
    let loader = fixture.function("ingest-csv").await;
    let key = "incoming/shop/orders/a b.csv";
    fixture.load(&loader, key, "id\n1\n2\n").await;
    fixture.transform().await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    // The state of a load that was interrupted and has made no progress since.
    fixture.run(
        "delete from staging.load_results; update staging.loads set started_at = now() - interval '5 hours'",
    )
    .await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    fixture.run("update staging.batches set created_at = now() - interval '4 hours'").await;
    let (code, found) = fixture.doctor(&[]).await;
    assert_eq!(code, Some(1));
    assert_eq!((found.len(), found[0].check.as_str()), (1, "loads"), "{found:#?}");
    assert!(found[0].found.contains("1 load running") && found[0].found.contains(key), "{found:#?}");
    let (code, _) = fixture.doctor(&["--load-missing"]).await;
    assert_eq!(code, Some(0));
    fixture.load_next(&loader).await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    assert_eq!(fixture.number("select count(*) from staging.load_results").await, 1);
    assert_eq!(fixture.number("select count(*) from raw_events").await, 2, "and nothing twice");
}
