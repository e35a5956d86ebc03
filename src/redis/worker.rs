//! One Redis connection for each HTTP worker. Passing a command to another thread's connection, and
//! its answer back, would cost more than Redis itself. A worker runs on one thread, and so does the
//! connection that it opened.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use tokio::runtime::{Handle, RuntimeFlavor};

use super::{
    breaker::SharedConnection,
    connect,
    connection::{Connection, RedisPool},
};

struct Own {
    /// The shared connection. When it is given up, this one is too.
    beside: Weak<SharedConnection<Connection>>,
    /// `None` until it is open, and where opening failed.
    connection: Option<Connection>,
}

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

/// The connection of this worker while `held` is in use. `None` outside of HTTP workers, and until
/// the connection is open; the first call begins to open it.
pub fn own_connection(
    held: &Arc<SharedConnection<Connection>>,
    pool: &RedisPool,
) -> Option<Connection> {
    if Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread {
        return None;
    }
    let beside = Arc::downgrade(held);
    OWN.with_borrow_mut(|own| match own {
        Some(own) if own.beside.ptr_eq(&beside) => own.connection.clone(),
        _ => {
            *own = Some(Own { beside: beside.clone(), connection: None });
            tokio::spawn(open(beside, pool.clone()));
            None
        }
    })
}

/// Closes this worker's connection. The next call to `own_connection` opens another.
pub fn forget_own_connection() {
    OWN.set(None);
}

async fn open(beside: Weak<SharedConnection<Connection>>, pool: RedisPool) {
    let opened = connect(&pool)
        .await
        .inspect_err(|error| tracing::debug!(%error, "a worker goes on with the shared connection"))
        .ok();
    OWN.with_borrow_mut(|own| {
        if let Some(own) = own.as_mut().filter(|own| own.beside.ptr_eq(&beside)) {
            own.connection = opened;
        }
    });
}
