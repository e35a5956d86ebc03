//! A request as the text of an input, and back.

use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use facility_summary::http::{
    cloudevents::{self, Posted},
    problem::Problem,
};

use crate::LIMITS;

/// A request; headers that HTTP could not carry are left out.
pub struct Request {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Request {
    pub fn read(input: &[u8]) -> Self {
        let (head, body) = match input.windows(2).position(|pair| pair == b"\n\n") {
            Some(end) => (&input[..end], &input[end + 2..]),
            None => (&b"content-type: application/cloudevents+json"[..], input),
        };
        let mut headers = HeaderMap::new();
        for line in head.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), value) {
                headers.append(name, value);
            }
        }
        Request { headers, body: body.to_vec() }
    }

    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }

    pub fn parse(&self) -> Result<Posted, Problem> {
        cloudevents::parse(self.content_type(), &self.headers, &self.body, &LIMITS)
    }
}
