//! Errors as clients read them: RFC 9457.

use reqwest::{Response, header::CONTENT_TYPE};
use serde_json::Value;

/// Asserts that the answer is a well-formed problem of this status and returns its body.
#[track_caller]
pub fn problem(response: Response, status: u16) -> impl Future<Output = Value> {
    let caller = std::panic::Location::caller();
    async move {
        let (actual, content_type) =
            (response.status(), response.headers().get(CONTENT_TYPE).cloned());
        let text = response.text().await.expect("the body arrives");
        assert_eq!(actual, status, "{caller}: {text}");
        assert_eq!(
            content_type.as_ref().map(|value| value.as_bytes()),
            Some(&b"application/problem+json"[..]),
            "{caller}: {text}"
        );
        let body: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{caller}: {error}: {text}"));
        assert_eq!(body["status"], status, "{caller}: {text}");
        for member in ["type", "title", "detail"] {
            assert!(
                body[member].as_str().is_some_and(|value| !value.is_empty()),
                "{caller}: no `{member}` in {text}"
            );
        }
        body
    }
}
