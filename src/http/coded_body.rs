//! A body in the form that the client prefers, with the entity tag of that form, or 304.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::Bytes,
};

use super::request_headers::{self, Encoding, NamedTag};
use crate::cache::{forms::Forms, memory::Entry};

/// A body that is held in several forms.
pub(super) trait CodedBody {
    /// The strong entity tag of the plain form, quotes included.
    fn etag(&self) -> Bytes;
    /// The body in this form; `None` where it is not held, because it saves too little. Held in
    /// the plain form always.
    fn form(&self, form: Encoding) -> Option<Bytes>;
}

impl CodedBody for Entry {
    fn etag(&self) -> Bytes {
        Entry::etag(self)
    }

    fn form(&self, form: Encoding) -> Option<Bytes> {
        match form {
            Encoding::Identity => Some(self.body()),
            Encoding::Gzip => self.gzip(),
            Encoding::Brotli => self.brotli(),
        }
    }
}

impl CodedBody for Forms {
    fn etag(&self) -> Bytes {
        Forms::etag(self).clone()
    }

    fn form(&self, form: Encoding) -> Option<Bytes> {
        match form {
            Encoding::Identity => Some(self.body().clone()),
            Encoding::Gzip => self.gzip(),
            Encoding::Brotli => self.brotli(),
        }
    }
}

/// The body as JSON in the form that the client prefers, or 304 where it names the tag of one of
/// the forms. `add` adds the other headers.
pub(super) fn respond(
    request: &HttpRequest,
    body: &impl CodedBody,
    add: impl FnOnce(&mut HttpResponseBuilder),
) -> HttpResponse {
    respond_as(request, body, HeaderValue::from_static("application/json"), add)
}

/// The same for a body of another content type.
pub(super) fn respond_as(
    request: &HttpRequest,
    body: &impl CodedBody,
    content_type: HeaderValue,
    add: impl FnOnce(&mut HttpResponseBuilder),
) -> HttpResponse {
    let etag = body.etag();
    let named = match request.headers().contains_key(header::IF_NONE_MATCH) {
        true => std::str::from_utf8(&etag)
            .ok()
            .and_then(|etag| request_headers::if_none_match(request.headers(), etag)),
        false => None,
    };
    let (form, sent) = match named {
        // The tag of the form that the client has, so that it finds what it stored (RFC 9111,
        // 4.3.4).
        Some(NamedTag::Of(form)) => (form, None),
        Some(NamedTag::Any) => (preferred(request, body).0, None),
        None => {
            let (form, sent) = preferred(request, body);
            (form, Some(sent))
        }
    };
    let status = if sent.is_some() { StatusCode::OK } else { StatusCode::NOT_MODIFIED };
    let mut response = HttpResponseBuilder::new(status);
    if let Some(tag) = tag_of(etag, form) {
        response.insert_header((header::ETAG, tag));
    }
    add(&mut response);
    response.insert_header((header::VARY, HeaderValue::from_static("Accept-Encoding")));
    let Some(sent) = sent else { return response.finish() };
    response.insert_header((header::CONTENT_TYPE, content_type));
    if let Some(encoding) = form.content_encoding() {
        response.insert_header((header::CONTENT_ENCODING, HeaderValue::from_static(encoding)));
    }
    response.body(sent)
}

/// The form that the client prefers, if it is held, else the plain one.
fn preferred(request: &HttpRequest, body: &impl CodedBody) -> (Encoding, Bytes) {
    let form = match request.headers().contains_key(header::ACCEPT_ENCODING) {
        true => request_headers::best_encoding(request.headers()),
        false => Encoding::Identity,
    };
    match body.form(form) {
        Some(sent) => (form, sent),
        None => (Encoding::Identity, body.form(Encoding::Identity).unwrap_or_default()),
    }
}

/// The entity tag of a form, from that of the plain form.
fn tag_of(etag: Bytes, form: Encoding) -> Option<HeaderValue> {
    if form == Encoding::Identity {
        return HeaderValue::from_maybe_shared(etag).ok();
    }
    let inner = etag.strip_suffix(b"\"")?;
    let tag = [inner, form.tag_suffix().as_bytes(), b"\""].concat();
    HeaderValue::from_maybe_shared(Bytes::from(tag)).ok()
}

/// Whether an answer to this request would compress so much that it takes milliseconds.
pub(super) fn is_long_work(request: &HttpRequest, body: &Forms) -> bool {
    request.headers().contains_key(header::ACCEPT_ENCODING)
        && match request_headers::best_encoding(request.headers()) {
            Encoding::Identity => false,
            Encoding::Gzip => body.is_long_work(false),
            Encoding::Brotli => body.is_long_work(true),
        }
}
