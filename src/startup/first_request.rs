//! The first request of a connection without TLS. One for events leaves HTTP with its answer, as
//! one for a WebSocket does: HTTP would keep 16 KiB of buffers for it. Every other connection goes
//! to HTTP untouched, and so does one for events that has served other requests before.

use std::{any::Any, io, rc::Rc, time::Duration};

use actix_codec::Framed;
use actix_http::{
    HttpMessage, KeepAlive, Request, ServiceConfig, error::DispatchError as Failed, h1,
};
use actix_service::{Service, ServiceFactory, fn_factory};
use actix_web::{dev::Extensions, http::StatusCode, rt::net::TcpStream};
use futures_util::{StreamExt, future::LocalBoxFuture};

use crate::http::{
    edge::TooMany,
    live::{
        STREAM,
        takeover::{CanLeave, refuse},
    },
};

/// A client that sends nothing for so long goes to HTTP, which has time-outs of its own.
const LOOK: Duration = Duration::from_secs(1);

/// What is done with connections.
#[derive(Clone)]
pub struct FirstLook<B, W> {
    /// Counts a connection that begins, or refuses it.
    pub begin: B,
    /// Returns when the server stops.
    pub stops: W,
    /// How long the head of a request may take.
    pub head: Duration,
}

/// Looks at the first request of each connection: `leaving` serves those for events, and `http` all
/// others.
pub fn look<H, L, B, W, S>(
    http: H,
    leaving: L,
    first: FirstLook<B, W>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = Failed, InitError = ()>
where
    H: ServiceFactory<TcpStream, Config = (), Response = (), Error = Failed, InitError = ()>
        + 'static,
    H::Service: 'static,
    L: ServiceFactory<
            (Request, Framed<TcpStream, h1::Codec>),
            Config = (),
            Response = (),
            InitError = (),
        > + 'static,
    L::Service: 'static,
    B: Fn(&dyn Any, &mut Extensions) + Clone + 'static,
    W: Fn() -> S + Clone + 'static,
    S: Future<Output = ()> + 'static,
{
    fn_factory(move || {
        let (http, leaving) = (http.new_service(()), leaving.new_service(()));
        let first = first.clone();
        async move {
            let config = ServiceConfig::new(
                KeepAlive::Disabled,
                first.head,
                Duration::from_secs(1),
                false,
                None,
            );
            Ok(Looking {
                http: Rc::new(http.await?),
                leaving: Rc::new(leaving.await?),
                first,
                config,
            })
        }
    })
}

/// The service of a worker.
struct Looking<H, L, B, W> {
    http: Rc<H>,
    leaving: Rc<L>,
    first: FirstLook<B, W>,
    /// Has the clock of the `Date` header, which all its connections share.
    config: ServiceConfig,
}

impl<H, L, B, W, S> Service<TcpStream> for Looking<H, L, B, W>
where
    H: Service<TcpStream, Response = (), Error = Failed> + 'static,
    L: Service<(Request, Framed<TcpStream, h1::Codec>), Response = ()> + 'static,
    B: Fn(&dyn Any, &mut Extensions) + Clone + 'static,
    W: Fn() -> S + Clone + 'static,
    S: Future<Output = ()> + 'static,
{
    type Response = ();
    type Error = Failed;
    type Future = LocalBoxFuture<'static, Result<(), Failed>>;

    actix_service::forward_ready!(http);

    fn call(&self, stream: TcpStream) -> Self::Future {
        let (http, leaving) = (self.http.clone(), self.leaving.clone());
        let (first, config) = (self.first.clone(), self.config.clone());
        Box::pin(async move {
            let asks_for_events = tokio::select! {
                asks = tokio::time::timeout(LOOK, asks_for_events(&stream)) => {
                    asks.is_ok_and(|asks| asks.unwrap_or(false))
                }
                () = (first.stops)() => false,
            };
            if !asks_for_events {
                return http.call(stream).await;
            }
            let mut data = Extensions::new();
            (first.begin)(&stream, &mut data);
            let peer = stream.peer_addr().ok();
            let mut framed = Framed::new(stream, h1::Codec::new(config));
            let read = tokio::time::timeout(first.head, framed.next()).await;
            let mut request = match read {
                Ok(Some(Ok(h1::Message::Item(request)))) => request,
                Ok(Some(Err(_))) => {
                    refuse(framed, StatusCode::BAD_REQUEST).await;
                    return Ok(());
                }
                Err(_) => {
                    refuse(framed, StatusCode::REQUEST_TIMEOUT).await;
                    return Ok(());
                }
                Ok(_) => return Ok(()), // the client has left
            };
            request.head_mut().peer_addr = peer;
            {
                let mut extensions = request.extensions_mut();
                extensions.insert(CanLeave);
                if let Some(too_many) = data.remove::<TooMany>() {
                    extensions.insert(too_many);
                }
            }
            // It logs why it cannot write.
            let _ = leaving.call((request, framed)).await;
            Ok(())
        })
    }
}

/// Waits for the first bytes, and looks whether they ask for events. Takes none of them.
async fn asks_for_events(stream: &TcpStream) -> io::Result<bool> {
    let mut begun = [0; 4 + STREAM.len()];
    let count = stream.peek(&mut begun).await?;
    Ok(begun[..count].strip_prefix(b"GET ") == Some(STREAM.as_bytes()))
}
