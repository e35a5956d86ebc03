//! What the tests use: a private Postgres, the real binary, and waiting for conditions instead of
//! sleeping.

pub mod events;
pub mod faketime;
pub mod openid;
pub mod outside;
pub mod plain_sql;
pub mod postgres;
pub mod problem;
mod process;
pub mod redis;
pub mod service;
pub mod site;
pub mod steps_proxy;

use std::time::{Duration, Instant};

pub use service::Service;

/// How long a condition may take to become true. It is long, since only a failing test takes all of
/// it, and a slow machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition is true; panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, condition: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    wait_until_within(PATIENCE, what, condition)
}

/// [`wait_until`] with a deadline of its own, for conditions that are known to take long.
///
/// The panic names the line of the caller. An `async fn` cannot do that, so this is a plain
/// function that returns a future.
#[track_caller]
pub fn wait_until_within(
    patience: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        while !condition().await {
            assert!(
                started.elapsed() < patience,
                "{caller}: gave up after {patience:?} waiting until {what}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Runs one test body on both stores: `on_both_stores! { async fn it_holds(service: Service) { … }
/// }` gives the tests `it_holds::sqlite` and `it_holds::postgres`, each with a service and a
/// database of its own. A body that takes a `Launch` starts the service by itself.
#[macro_export]
macro_rules! on_both_stores {
    ($(
        $(#[$attribute:meta])*
        async fn $name:ident($service:ident: Service $(,)?) $body:block
    )+) => { $(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports)] // a body may need nothing from its file
            use super::*;

            async fn body($service: $crate::support::Service) $body

            #[tokio::test]
            async fn sqlite() {
                body($crate::support::Service::on_sqlite().start().await).await
            }

            #[tokio::test]
            async fn postgres() {
                body($crate::support::Service::on_postgres().await.start().await).await
            }
        }
    )+ };
    ($(
        $(#[$attribute:meta])*
        async fn $name:ident($launch:ident: Launch $(,)?) $body:block
    )+) => { $(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports)] // a body may need nothing from its file
            use super::*;

            async fn body($launch: $crate::support::service::Launch) $body

            #[tokio::test]
            async fn sqlite() {
                body($crate::support::Service::on_sqlite()).await
            }

            #[tokio::test]
            async fn postgres() {
                body($crate::support::Service::on_postgres().await).await
            }
        }
    )+ };
}
