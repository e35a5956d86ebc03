//! The owner's own habits with triggers: all off for a bulk load, and all on again.

use super::{adopt, agrees, is_noticed, triggers, watched};
use crate::{sources::MAPPING, support::wait_until};

/// `ENABLE TRIGGER ALL` also lets those fire for every writer that are only for replication.
#[tokio::test]
async fn triggers_that_were_all_enabled_at_once_are_named_with_what_to_run() {
    let (service, mut sql) = watched(MAPPING).await;
    sql.run("ALTER TABLE public.bag DISABLE TRIGGER ALL").await;
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    sql.run("ALTER TABLE public.bag ENABLE TRIGGER ALL").await;
    wait_until("it is said", async || {
        triggers(&service).await["last_error"] == "enabled_otherwise"
    })
    .await;
    let said = triggers(&service).await["remedy"].as_str().expect("words").to_owned();
    for words in [
        "public.bag: facility_summary_row_",
        "enabled otherwise; facility-summary adopt install puts it right",
        "ALTER TABLE … ENABLE TRIGGER ALL leaves triggers so",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    let made = adopt(service.launch(), &["install"]).await;
    assert!(made.contains("made: The triggers on public.bag."), "{made}");
    is_noticed(&service).await;
    agrees(&service, &mut sql, "the bulk load").await;
    let of_rows = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'public.bag'::regclass AND \
                   tgname LIKE 'facility\\_summary\\_row%' AND tgenabled = 'R'";
    assert_eq!(sql.number(of_rows).await, 1);
}
