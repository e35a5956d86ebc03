//! Locks of the owner's tables: ours and theirs.

use serde_json::json;

use super::{MAPPING, mapped};
use crate::support::{outside::Outside, wait_until};

/// For how long the statement waits that has waited longest, in milliseconds.
const WAITS_MS: &str = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart) \
                        * 1000), 0)::bigint FROM pg_locks WHERE NOT granted";

/// A statement of ours reads several tables. Were it to wait long for one while it holds another,
/// the server would take the owner's migration for the one that made the deadlock.
#[tokio::test]
async fn no_statement_of_the_owner_is_cancelled_as_a_deadlock_with_one_of_ours() {
    let (launch, mut owner) = mapped(MAPPING).await;
    let mut look = Outside::connect(launch.database_url()).await;
    let service = launch.start().await;
    for (first, second) in
        [("bag", "movement"), ("movement", "bag"), ("bag", "hospital"), ("hospital", "bag")]
    {
        owner.run(format!("BEGIN; LOCK TABLE public.{first}")).await;
        let asked = service.post("/v1/rebuild", &json!({})).await;
        assert_eq!(asked.status(), 202);
        wait_until("ours waits", async || look.number(WAITS_MS).await > 0).await;
        // By then the server has looked for a deadlock, and found none.
        wait_until("ours has ended, or waits too long", async || {
            !(1..1_300).contains(&look.number(WAITS_MS).await)
        })
        .await;
        owner.run(format!("LOCK TABLE public.{second}; ROLLBACK")).await;
    }
}
