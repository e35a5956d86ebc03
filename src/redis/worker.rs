//! A connection of each HTTP worker's own. To hand a command to a connection of another thread, and
//! its answer back, would cost a reader more than Redis itself does; a worker runs on one thread,
//! and so does the connection that it opened.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use tokio::runtime::{Handle, RuntimeFlavor};

use super::{
    breaker::Held,
    connect,
    connection::{Connection, Pool},
};

struct Own {
    /// It is given up together with this one, which all threads share.
    beside: Weak<Held<Connection>>,
    /// `None` until it is open, and where it could not be opened.
    connection: Option<Connection>,
}

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

/// This worker's connection, for as long as `held` is in use; `None` elsewhere, and until it is
/// open, which the first call sees to.
pub fn own_connection(held: &Arc<Held<Connection>>, pool: &Pool) -> Option<Connection> {
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

/// Has the next call open another.
pub fn forget_own_connection() {
    OWN.set(None);
}

async fn open(beside: Weak<Held<Connection>>, pool: Pool) {
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
