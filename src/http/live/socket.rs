//! The socket of a client that has left HTTP, and the task that reads it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{ErrorKind, IoSlice, Result as IoResult},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::TcpStream;
use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::requests::Requests;
use crate::live::{
    connection::{Connection, Wire},
    shard::Shard,
};

/// A bare connection.
pub enum Socket {
    /// Without TLS.
    Tcp(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A socket that its task reads, and its shard writes.
pub struct Io {
    socket: RefCell<Socket>,
    /// Bytes are encrypted and not written yet.
    is_unflushed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Bytes that the kernel keeps for a client that reads nothing, about; it doubles them.
const SEND_BUFFER: usize = 16 << 10;
/// Bytes that are yet to be sent, below which the socket takes more.
const NOT_SENT: u32 = 8 << 10;
/// Bytes that are read at once.
const READ: usize = 4 << 10;
/// How long a client may take to close a connection that has ended.
const LINGER: Duration = Duration::from_secs(2);

impl Socket {
    /// Has the kernel keep little of what a client does not read: the newest counts.
    fn keep_little(&self) {
        let tcp = match self {
            Socket::Tcp(tcp) => tcp,
            Socket::Tls(tls) => tls.get_ref().0,
        };
        let socket = SockRef::from(tcp);
        let set = socket
            .set_send_buffer_size(SEND_BUFFER)
            .and_then(|()| socket.set_tcp_notsent_lowat(NOT_SENT))
            .and_then(|()| socket.set_tcp_nodelay(true));
        if let Err(error) = set {
            tracing::debug!(%error, "the buffers of a live client are those of the system");
        }
    }
}

impl Io {
    /// Takes a socket over.
    pub fn new(socket: Socket) -> Rc<Self> {
        socket.keep_little();
        Rc::new(Io {
            socket: RefCell::new(socket),
            is_unflushed: Cell::new(false),
            waker: RefCell::default(),
        })
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<IoResult<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let polled = match &mut *self.socket.borrow_mut() {
            Socket::Tcp(tcp) => Pin::new(tcp).poll_read(cx, &mut buffer),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, &mut buffer),
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Waits until the socket may take bytes again.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        match &*self.socket.borrow() {
            Socket::Tcp(tcp) => tcp.poll_write_ready(cx),
            Socket::Tls(tls) => tls.get_ref().0.poll_write_ready(cx),
        }
    }

    /// Writes what is encrypted already.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        if !self.is_unflushed.get() {
            return Poll::Ready(Ok(()));
        }
        let polled = match &mut *self.socket.borrow_mut() {
            Socket::Tcp(_) => Poll::Ready(Ok(())),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        };
        self.is_unflushed.set(polled.is_pending());
        polled
    }
}

/// The end of the connection that the shard writes to.
pub struct Writing(pub Rc<Io>);

impl Wire for Writing {
    fn try_write(&self, parts: &[IoSlice<'_>]) -> IoResult<usize> {
        let io = &self.0;
        let cx = &mut Context::from_waker(Waker::noop());
        if io.poll_flush(cx)?.is_pending() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let written = match &mut *io.socket.borrow_mut() {
            Socket::Tcp(tcp) => return tcp.try_write_vectored(parts),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, parts),
        };
        let Poll::Ready(count) = written else { return Err(ErrorKind::WouldBlock.into()) };
        io.is_unflushed.set(true);
        if io.poll_flush(cx)?.is_pending()
            && let Some(waker) = io.waker.borrow_mut().take()
        {
            waker.wake();
        }
        count
    }
}

/// Serves a client until it ends. `requests` takes what it sends; `None`: it reads only, and what
/// it sends does not count. `received` is what it has sent already.
pub async fn serve(
    shard: Rc<Shard>,
    connection: Rc<Connection>,
    io: Rc<Io>,
    mut requests: Option<Requests>,
    mut received: BytesMut,
) {
    if let Some(requests) = requests.as_mut().filter(|_| !received.is_empty()) {
        requests.take(&shard, &connection, &mut received);
    }
    connection.flush(&shard);
    let ended = poll_fn(|cx| poll(cx, &shard, &connection, &io, &mut requests, &mut received));
    let ended = ended.await;
    let is_orderly = ended.is_ok() && connection.state().dead_at != 0;
    shard.remove(&connection);
    drop(connection);
    if let (true, Ok(io)) = (is_orderly, Rc::try_unwrap(io)) {
        // Closed with unread bytes, the socket would take back what was written last.
        let _ = tokio::time::timeout(LINGER, farewell(io.socket.into_inner())).await;
    }
}

async fn farewell(socket: Socket) -> IoResult<()> {
    let mut rest = [0; 512];
    match socket {
        Socket::Tcp(mut tcp) => {
            tcp.shutdown().await?;
            while tcp.read(&mut rest).await? > 0 {}
        }
        Socket::Tls(mut tls) => {
            tls.shutdown().await?;
            while tls.read(&mut rest).await? > 0 {}
        }
    }
    Ok(())
}

fn poll(
    cx: &mut Context<'_>,
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    io: &Rc<Io>,
    requests: &mut Option<Requests>,
    received: &mut BytesMut,
) -> Poll<IoResult<()>> {
    connection.wait(cx.waker());
    *io.waker.borrow_mut() = Some(cx.waker().clone());
    loop {
        if connection.is_over() {
            return Poll::Ready(Ok(()));
        }
        if let Some(requests) = requests.as_mut()
            && requests.may_go_on(connection)
        {
            requests.take(shard, connection, received);
            connection.flush(shard);
            continue;
        }
        if connection.state().is_held_up {
            break; // what comes meanwhile stays in the socket
        }
        let mut buffer = [0; READ];
        match io.poll_read(cx, &mut buffer) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(count)) => {
                let Some(requests) = requests else { continue };
                received.extend_from_slice(&buffer[..count]);
                requests.take(shard, connection, received);
                connection.flush(shard);
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
        }
    }
    while connection.state().is_blocked {
        match io.poll_writable(cx) {
            Poll::Pending => break,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                connection.state().is_blocked = false;
                connection.flush(shard);
            }
        }
    }
    if let Poll::Ready(Err(error)) = io.poll_flush(cx) {
        return Poll::Ready(Err(error));
    }
    if connection.is_over() {
        return Poll::Ready(Ok(()));
    }
    // A flush above may have taken the waker.
    connection.wait(cx.waker());
    Poll::Pending
}
