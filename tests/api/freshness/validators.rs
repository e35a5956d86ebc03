//! Entity tags, `HEAD`, and compressed forms.

use std::io::Read;

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{conditional, stocked};
use crate::{
    on_both_stores,
    steps::{date_in, distribution, header, noon_zone, now_ms, path, post},
    support::Service,
};

on_both_stores! {
    async fn an_entity_tag_names_date_version_and_body_and_gives_304(service: Service) {
        let zone = noon_zone();
        let id = stocked(&service, &zone).await;
        let today = path(id, "today");
        let response = service.get(&today).await;
        let etag = header(&response, "etag");
        let body: Value = response.json().await.unwrap();
        let parts: Vec<&str> = etag.trim_matches('"').split('.').collect();
        assert!(etag.starts_with('"') && etag.ends_with('"') && parts.len() == 3, "{etag}");
        assert_eq!(
            (parts[0], parts[1]),
            (date_in(&zone, 0).to_string().as_str(), body["version"].to_string().as_str())
        );
        assert!(
            parts[2].len() == 8 && parts[2].bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            "{etag}"
        );

        for list in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
            for method in [Method::GET, Method::HEAD] {
                let same = conditional(&service, method, &today, &list).await;
                assert_eq!(same.status(), 304, "{list}");
                assert_eq!(header(&same, "etag"), etag);
                assert!(
                    !header(&same, "age").is_empty()
                        && !header(&same, "cache-control").is_empty()
                        && !header(&same, "cache-status").is_empty()
                );
                assert!(same.bytes().await.unwrap().is_empty());
            }
        }
        let no_cache = service
            .request(Method::GET, &today)
            .header("if-none-match", &etag)
            .header("cache-control", "no-cache");
        assert_eq!(
            no_cache.send().await.unwrap().status(),
            304,
            "a refresh that changes no figure keeps every byte of the body"
        );
        post(&service, &[distribution(Uuid::new_v4(), id, 1, now_ms())]).await;
        let changed = conditional(&service, Method::GET, &today, &etag).await;
        assert_eq!(changed.status(), 200);
        assert_ne!(header(&changed, "etag"), etag);
    }

    async fn a_head_has_the_headers_of_a_get_and_no_body(service: Service) {
        let id = stocked(&service, "UTC").await;
        for path in [
            path(id, "today"),
            format!("/v1/facilities/{id}/summaries"),
            "/v1/summaries/today".into(),
            "/v1/facilities".into(),
        ] {
            let (get, head) = (
                service.get(&path).await,
                service.request(Method::HEAD, &path).send().await.unwrap(),
            );
            assert_eq!(head.status(), 200, "{path}");
            for name in ["content-type", "etag", "content-length"] {
                assert_eq!(header(&head, name), header(&get, name), "{path}: {name}");
            }
            assert!(head.bytes().await.unwrap().is_empty());
        }
    }

    async fn compressed_forms_decode_to_the_same_body_and_have_tags_of_their_own(service: Service) {
        let id = stocked(&service, &noon_zone()).await;
        for path in [
            path(id, "today"),
            format!("/v1/facilities/{id}/summaries"),
            format!("/v1/facilities/{id}/summaries?from={}", date_in(&noon_zone(), -99)),
            "/v1/summaries/today".into(),
            "/openapi.json".into(),
        ] {
            forms_of(&service, &path).await;
        }
    }
}

/// Reads each form of a body, and asks for it again by the tags of all forms.
async fn forms_of(service: &Service, path: &str) {
    let plain = service.get(path).await;
    let (etag, version) = (header(&plain, "etag"), header(&plain, "vary"));
    assert_eq!(
        (header(&plain, "content-encoding"), version.as_str()),
        (String::new(), "Accept-Encoding")
    );
    let body = plain.bytes().await.unwrap();
    for (accept, encoding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, br", "br"),
        ("br;q=0, gzip", "gzip"),
        ("identity", ""),
        ("gzip;q=0", ""),
    ] {
        let form = service
            .request(Method::GET, path)
            .header("accept-encoding", accept)
            .send()
            .await
            .unwrap();
        let suffix = match encoding {
            "" => String::new(),
            encoding => format!("-{encoding}"),
        };
        let own = format!("{}{suffix}\"", etag.strip_suffix('"').unwrap());
        assert_eq!(
            (header(&form, "content-encoding").as_str(), header(&form, "etag")),
            (encoding, own.clone()),
            "{path}: {accept}"
        );
        assert_eq!(header(&form, "vary"), "Accept-Encoding", "{path}: {accept}");
        let sent = form.bytes().await.unwrap();
        assert_eq!(decoded(encoding, &sent), body, "{accept}");
        assert!(
            encoding.is_empty() || sent.len() * 4 <= body.len() * 3,
            "a body is compressed only if that saves enough: {} of {}",
            sent.len(),
            body.len()
        );
        for named in [&own, &etag, &format!("W/{own}"), &format!("\"other\", {own}")] {
            let again = service
                .request(Method::GET, path)
                .header("accept-encoding", accept)
                .header("if-none-match", named)
                .send()
                .await
                .unwrap();
            let tag = if named == &etag { &etag } else { &own };
            assert_eq!(
                (again.status().as_u16(), &header(&again, "etag")),
                (304, tag),
                "{path}: {accept}: {named}"
            );
            assert_eq!(header(&again, "vary"), "Accept-Encoding", "{path}: {accept}");
        }
    }
}

/// A body in the plain form.
fn decoded(encoding: &str, sent: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match encoding {
        "gzip" => drop(flate2::read::GzDecoder::new(sent).read_to_end(&mut plain).unwrap()),
        "br" => drop(brotli::Decompressor::new(sent, 4096).read_to_end(&mut plain).unwrap()),
        _ => plain = sent.to_vec(),
    }
    plain
}
