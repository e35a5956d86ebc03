//! A proxy that knows the protocol of Postgres. It holds a transaction of the service before any of
//! its round trips, so that a test can act in between, and it can lose the answer to a commit.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// Forwards connections to a Postgres. It runs until the runtime of its test ends.
pub struct StepsProxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The round trip before which the next transaction is held, counted from its BEGIN (0).
    hold_at: Option<usize>,
    /// A transaction is held now.
    is_held: bool,
    /// The connection that commits next is cut once its COMMIT was forwarded.
    loses_commit: bool,
    /// How many answers to a COMMIT were lost.
    lost: usize,
}

impl StepsProxy {
    /// A proxy before the server of this URL, and the URL of the same database through it.
    pub async fn before(url: &str) -> (StepsProxy, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (rest, path) = url.rsplit_once('/').expect("a URL has a path");
        let (user, server) = rest.rsplit_once('@').expect("a user");
        let target: SocketAddr = server.parse().expect("an address");
        let state = Arc::new(watch::Sender::new(State::default()));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = shared.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        carry(client, server, &state).await;
                    }
                });
            }
        });
        (StepsProxy { address, state }, format!("{user}@{address}/{path}"))
    }

    /// Holds the next transaction before this round trip of it.
    pub fn hold_at(&self, step: usize) {
        self.state.send_modify(|state| state.hold_at = Some(step));
    }

    /// Whether a transaction is held.
    pub fn is_held(&self) -> bool {
        self.state.borrow().is_held
    }

    /// Lets the held transaction go on, and holds none any more.
    pub fn release(&self) {
        self.state.send_modify(|state| (state.hold_at, state.is_held) = (None, false));
    }

    /// Cuts the connection of the next commit as soon as its COMMIT was forwarded.
    pub fn lose_a_commit(&self) {
        self.state.send_modify(|state| state.loses_commit = true);
    }

    /// How many answers to a COMMIT were lost.
    pub fn lost(&self) -> usize {
        self.state.borrow().lost
    }
}

async fn carry(client: TcpStream, server: TcpStream, state: &watch::Sender<State>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, mut to_client), (mut from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        _ = forward(from_client, to_server, state) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// Forwards messages to the server, one by one.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &watch::Sender<State>,
) -> std::io::Result<()> {
    // The round trips since BEGIN, while a transaction is open; whether it is the one to hold.
    let (mut step, mut is_typed, mut is_begun) = (None::<usize>, false, true);
    loop {
        let mut head = [0; 5];
        let length_at = usize::from(is_typed);
        from.read_exact(&mut head[..length_at + 4]).await?;
        let length = u32::from_be_bytes(head[length_at..][..4].try_into().expect("four bytes"));
        let mut body = vec![0; (length as usize).saturating_sub(4)];
        from.read_exact(&mut body).await?;
        if is_typed && is_begun {
            // The first message of a round trip.
            match (head[0], body.as_slice()) {
                (b'Q', text) if text.starts_with(b"BEGIN") => step = Some(0),
                (_, _) => step = step.map(|step| step + 1),
            }
            is_begun = false;
            if step.is_some() && state.borrow().hold_at == step {
                state.send_modify(|state| state.is_held = true);
                let _ = state.subscribe().wait_for(|state| !state.is_held).await;
            }
        }
        let is_commit = is_typed && head[0] == b'Q' && body.starts_with(b"COMMIT");
        to.write_all(&head[..length_at + 4]).await?;
        to.write_all(&body).await?;
        // A request for TLS, and the first message of a session, have no type.
        is_typed |= body.first() != Some(&4) && length != 8;
        is_begun |= is_typed && matches!(head[0], b'Q' | b'S');
        if is_commit {
            step = None;
            let mut is_lost = false;
            state.send_if_modified(|state| {
                is_lost = std::mem::take(&mut state.loses_commit);
                state.lost += usize::from(is_lost);
                is_lost
            });
            if is_lost {
                // The server has it before the connection ends.
                to.flush().await?;
                tokio::task::yield_now().await;
                return Ok(());
            }
        }
    }
}
