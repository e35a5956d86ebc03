//! What is left of a request's body when its answer is made: the route may take no body, or the
//! request was refused before its body was looked at. If the body were dropped, actix would wait
//! for the end of a chunked one without a limit.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpMessage,
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    web::Bytes,
};
use futures_util::{Stream, StreamExt};

/// How long the rest of a body is read that nobody needs.
const LINGER: Duration = Duration::from_secs(1);
/// The most bytes of it that are read.
const MOST_BYTES: usize = 64 * 1024;

/// The body of a request, which its handler reads as if it had it alone.
pub(super) struct Rest(Option<Rc<RefCell<Body>>>);

struct Body {
    payload: Payload,
    has_ended: bool,
}

/// Keeps hold of the body of a request. Costs nothing where there is none.
pub(super) fn hold(request: &mut ServiceRequest) -> Rest {
    match request.take_payload() {
        Payload::None => Rest(None),
        payload => {
            let body = Rc::new(RefCell::new(Body { payload, has_ended: false }));
            request.set_payload(Payload::Stream { payload: Box::pin(Held(body.clone())) });
            Rest(Some(body))
        }
    }
}

impl Rest {
    /// Reads what is left of a short body that is there, so that the connection can be used again.
    /// One that is long, or comes slowly, closes the connection after the answer. Where the answer
    /// says that the body is `given_up`, nobody waits for it.
    pub async fn hang_up(self, given_up: bool) {
        let Some(body) = self.0.filter(|body| !body.borrow().has_ended) else { return };
        let linger = if given_up { Duration::ZERO } else { LINGER };
        hang_up(Held(body), linger).await;
    }
}

/// The same for the body of a request without a route.
pub(super) async fn hang_up_unrouted(payload: Payload) {
    if !matches!(payload, Payload::None) {
        hang_up(payload, LINGER).await;
    }
}

async fn hang_up(mut body: impl Stream<Item = Chunk> + Unpin + 'static, linger: Duration) {
    let reading = async {
        let mut left = MOST_BYTES;
        while let Some(Ok(chunk)) = body.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    if !tokio::time::timeout(linger, reading).await.unwrap_or(false) {
        // While the body is held, actix closes the connection after the answer; then this ends.
        actix_web::rt::spawn(tokio::time::timeout(LINGER, async move {
            while let Some(Ok(_)) = body.next().await {}
        }));
    }
}

type Chunk = Result<Bytes, PayloadError>;

struct Held(Rc<RefCell<Body>>);

impl Stream for Held {
    type Item = Chunk;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let body = &mut *self.0.borrow_mut();
        let polled = Pin::new(&mut body.payload).poll_next(context);
        body.has_ended |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}
