//! Takes the socket of a live client out of HTTP. A request that asks for an upgrade, or for events
//! as the first one of its connection, goes through the routes like any other one. Where its answer
//! has a ticket, this file writes the answer and hands the bare socket to the live clients, so that
//! none of HTTP's buffers and tasks stay with it.

use std::{pin::pin, rc::Rc};

use actix_codec::{AsyncRead, AsyncWrite, Framed, FramedParts};
use actix_http::{Request, Response, body::BoxBody, h1};
use actix_service::{Service, ServiceFactory, fn_factory};
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    Error,
    body::{BodySize, MessageBody},
    dev::ServiceResponse,
    http::{ConnectionType, StatusCode},
    rt::net::TcpStream,
};
use bytes::BytesMut;
use futures_util::future::LocalBoxFuture;
use tokio::io::AsyncWriteExt;
use tokio_util::codec::Encoder;

use super::socket::Socket;

/// In the extensions of a request whose socket can leave HTTP, although it asks for no upgrade.
pub struct CanLeave;

/// Put into the extensions of an answer: who serves the socket. It gets the bytes that the client
/// has sent already. What it writes is the body of the answer, up to the end of the connection.
pub struct Ticket(pub Box<dyn FnOnce(Socket, BytesMut)>);

/// A connection that can be taken out of HTTP.
pub trait Bare: AsyncRead + AsyncWrite + Unpin + 'static {
    /// The socket.
    fn bare(self) -> Socket;
}

impl Bare for TcpStream {
    fn bare(self) -> Socket {
        Socket::Tcp(self)
    }
}

impl Bare for TlsStream<TcpStream> {
    fn bare(self) -> Socket {
        Socket::Tls(Box::new(self))
    }
}

/// Serves requests that ask for an upgrade, by the routes of `app`.
pub struct Upgrades<S>(Rc<S>);

/// Makes `Upgrades` for a worker.
pub fn upgrades<T, F, B>(
    app: F,
) -> impl ServiceFactory<
    (Request, Framed<T, h1::Codec>),
    Config = (),
    Response = (),
    Error = Error,
    InitError = (),
    Service = Upgrades<F::Service>,
>
where
    T: Bare,
    F: ServiceFactory<
            Request,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    fn_factory(move || {
        let making = app.new_service(());
        async move { Ok(Upgrades(Rc::new(making.await?))) }
    })
}

impl<T, S, B> Service<(Request, Framed<T, h1::Codec>)> for Upgrades<S>
where
    T: Bare,
    S: Service<Request, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ();
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<(), Error>>;

    actix_service::always_ready!();

    fn call(&self, (request, framed): (Request, Framed<T, h1::Codec>)) -> Self::Future {
        let app = self.0.clone();
        Box::pin(async move {
            let (answer, ticket) = match app.call(request).await {
                Ok(mut answer) => {
                    let ticket = answer.response_mut().extensions_mut().remove::<Ticket>();
                    (answer.map_into_boxed_body().into(), ticket)
                }
                Err(error) => (Response::<BoxBody>::from(error), None),
            };
            if let Err(error) = write(answer, ticket, framed.into_parts()).await {
                tracing::debug!(%error, "a client left before it was answered");
            }
            Ok(())
        })
    }
}

/// Answers a request whose head cannot be taken, as HTTP does, and ends the connection.
pub async fn refuse<T: Bare>(framed: Framed<T, h1::Codec>, status: StatusCode) {
    let answer = Response::new(status).map_into_boxed_body();
    if let Err(error) = write(answer, None, framed.into_parts()).await {
        tracing::debug!(%error, "a client left before it was answered");
    }
}

/// Writes an answer. With a ticket the socket goes to whoever serves it; otherwise the connection
/// ends.
async fn write<T: Bare>(
    answer: Response<BoxBody>,
    ticket: Option<Ticket>,
    parts: FramedParts<T, h1::Codec>,
) -> std::io::Result<()> {
    let FramedParts { mut io, mut codec, read_buf, mut write_buf, .. } = parts;
    let (mut head, body) = answer.into_parts();
    if let Some(Ticket(serve)) = ticket {
        if head.status() != StatusCode::SWITCHING_PROTOCOLS {
            head.head_mut().set_connection_type(ConnectionType::Close);
        }
        codec.encode(h1::Message::Item((head, BodySize::None)), &mut write_buf)?;
        io.write_all(&write_buf).await?;
        serve(io.bare(), read_buf);
        return Ok(());
    }
    head.head_mut().set_connection_type(ConnectionType::Close);
    codec.encode(h1::Message::Item((head, body.size())), &mut write_buf)?;
    let mut body = pin!(body);
    while let Some(chunk) = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await {
        let chunk = chunk.map_err(|error| std::io::Error::other(error.to_string()))?;
        codec.encode(h1::Message::Chunk(Some(chunk)), &mut write_buf)?;
        io.write_all(&write_buf).await?;
        write_buf.clear();
    }
    codec.encode(h1::Message::Chunk(None), &mut write_buf)?;
    io.write_all(&write_buf).await?;
    io.shutdown().await
}
