//! Tests of `problem.rs`.

use super::*;
use crate::store::Cause;
use actix_web::body::to_bytes;

async fn sent(problem: Problem) -> (u16, Option<String>, serde_json::Value) {
    let response = problem.error_response();
    assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), CONTENT_TYPE);
    let retry = response.headers().get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body()).await.ok().unwrap();
    (status, retry, serde_json::from_slice(&body).unwrap())
}

#[actix_web::test]
async fn a_problem_has_the_five_members_of_rfc_9457_and_no_more() {
    let fault =
        InputError { pointer: "/data/quantity".into(), detail: "expected a whole number".into() };
    let (status, retry, body) = sent(Problem::invalid(vec![fault])).await;
    assert_eq!((status, retry), (422, None));
    assert_eq!(
        body,
        serde_json::json!({
            "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
            "detail": "The request has a fault, and nothing of it was applied.",
            "errors": [{"pointer": "/data/quantity", "detail": "expected a whole number"}],
        })
    );
}

#[actix_web::test]
async fn nothing_that_the_database_said_reaches_a_client() {
    let secret = || {
        let error = sqlx::Error::Protocol("relation \"blood_inventory\" at 10.0.0.7".into());
        Cause::Driver(error.into())
    };
    for (error, want, retry) in [
        (StoreError::Unavailable(secret()), 503, true),
        (StoreError::Locked(secret()), 503, true),
        (StoreError::Conflict, 503, true),
        (StoreError::Full(secret()), 503, true),
        (StoreError::Internal(secret()), 503, true),
        (StoreError::Refused(secret()), 422, false),
        (StoreError::Failed(secret()), 500, false),
        (StoreError::Unreadable("secret 10.0.0.7".into()), 500, false),
    ] {
        let (status, retry_after, body) = sent(error.into()).await;
        assert_eq!((status, retry_after.is_some()), (want, retry));
        assert!(
            !body.to_string().contains("10.0.0.7") && !body.to_string().contains("relation"),
            "{body}"
        );
    }
}

#[test]
fn a_body_cut_off_is_the_senders_fault() {
    assert_eq!(Problem::from(PayloadError::Incomplete(None)).status(), 400);
    assert_eq!(Problem::from(PayloadError::Overflow).status(), 413);
}

#[actix_web::test]
async fn a_wrong_method_is_answered_with_the_right_ones() {
    let response = Problem::method_not_allowed("GET, PUT").error_response();
    assert_eq!(response.headers().get(header::ALLOW).unwrap(), "GET, PUT");
    assert_eq!(response.status(), 405);
}
