//! The contract of a store, as cases that run on every dialect. A case has the store under test,
//! and a plain SQL connection as another program has it. The literals that differ between dialects
//! come from the [`TestDb`].

mod access;
mod audit;
mod derive;
mod differences;
mod errors;
mod fleet;
mod marks;
mod people;
mod postgres_db;
mod postgres_instants;
mod postgres_plans;
mod postgres_servers;
mod postgres_standby;
mod random_world;
mod records;
mod runs;
mod setup;
mod sqlite_db;
mod transactions;

use std::sync::Arc;

use facility_summary::store::Store;
use uuid::Uuid;

/// A fresh database: the store under test, and a plain SQL connection to it.
#[async_trait::async_trait]
pub trait TestDb: Send + Sync {
    fn store(&self) -> Arc<dyn Store>;
    /// Runs SQL as another program would, without the store.
    async fn plain(&self, sql: &str);
    /// The number that a plain query returns.
    async fn number(&self, sql: &str) -> i64;
    /// An id as a literal.
    fn id(&self, id: Uuid) -> String;
    /// An SQL expression for a new id, evaluated for each row.
    fn new_id(&self) -> &'static str;
    /// An integer expression in milliseconds as an instant.
    fn instant(&self, ms: &str) -> String;

    fn at(&self, ms: i64) -> String {
        self.instant(&ms.to_string())
    }
}

macro_rules! cases {
    ($open:expr; $($module:ident :: { $($case:ident),+ $(,)? })+) => {
        $($(
            #[tokio::test]
            async fn $case() {
                let db = $open.await;
                super::$module::$case(&db).await;
                db.store().close().await;
            }
        )+)+
    };
}

/// All cases, on the databases that `$open` makes.
macro_rules! contract {
    ($dialect:ident, $open:expr) => {
        mod $dialect {
            use super::TestDb;

            cases! { $open;
                marks::{
                    a_write_of_only_the_required_columns_is_marked,
                    a_row_that_moves_marks_where_it_was_and_where_it_is,
                    writes_of_one_day_are_all_covered_in_any_order,
                    a_bank_that_moves_marks_both_facilities,
                    a_read_of_the_marks_alone_finds_those_of_a_drain_snapshot,
                    a_deleted_row_marks_where_it_was,
                    an_upsert_marks_where_the_row_was_and_where_it_is,
                    an_insert_or_replace_marks_what_it_replaced,
                    a_bulk_write_leaves_marks_by_facility_and_day_not_by_row,
                    a_rolled_back_write_leaves_no_mark,
                    a_write_between_the_snapshot_and_the_taking_of_marks_is_not_lost,
                }
                transactions::{
                    our_transaction_leaves_no_mark_and_keeps_the_marks_of_others,
                    marks_that_are_added_survive_their_transaction,
                    take_marks_deletes_exactly_the_given_marks,
                    written_rows_come_back_with_their_versions_and_an_outbox_row_each,
                    the_version_counter_only_rises_and_outlives_removed_summaries,
                    a_dropped_transaction_leaves_nothing_and_lets_the_next_one_in,
                    a_commit_that_fails_says_so_and_leaves_nothing,
                    an_open_transaction_hides_its_writes_and_blocks_no_reader,
                    an_outside_lock_is_answered_in_time,
                    a_wait_for_a_lock_that_is_given_up_leaves_nothing_locked,
                }
                derive::{
                    a_day_that_has_not_begun_is_derived_if_the_former_zone_left_a_row,
                    todays_stock_leaves_out_what_has_expired,
                    a_closed_day_keeps_the_stock_it_closed_with,
                    a_closed_day_without_recorded_stock_stays_without_stock,
                    days_that_have_not_begun_and_unknown_facilities_are_left_out,
                    types_without_a_figure_are_left_out,
                    a_quiet_today_is_opened_and_a_quiet_past_is_not,
                    only_a_later_expiry_asks_for_a_write_without_a_change_of_figures,
                    expired_figures_are_due_soonest_first,
                }
                differences::{
                    a_sum_of_differences_is_what_the_aggregate_gives,
                    a_row_says_whether_it_was_derived_last,
                }
                random_world::{figures_equal_a_naive_recomputation_and_stay_equal}
                records::{
                    every_kind_comes_back_as_it_was_put,
                    a_removed_row_leaves_a_tombstone_and_a_put_deletes_it,
                    a_row_wins_over_its_tombstone,
                    a_new_row_that_is_there_already_is_a_conflict,
                    a_reference_to_nothing_is_refused,
                    directory_dates_and_activity_are_listed,
                    pruning_deletes_old_tombstones_and_finished_runs_only,
                }
                access::{
                    entries_and_denials_are_deleted_by_their_age_alone,
                    a_denial_comes_back_as_it_was_stored_and_raises_the_access_version,
                    what_is_not_done_is_not_noted,
                }
                people::{
                    a_session_begins_only_while_its_account_is_as_it_was,
                    no_session_of_a_denied_subject_begins,
                    only_the_sessions_that_are_meant_end_or_are_listed,
                    a_code_counts_once_and_only_while_nobody_can_sign_in,
                    nothing_is_done_that_cannot_be_noted,
                }
                runs::{
                    a_tick_is_queued_once_by_many_at_once,
                    a_tick_of_a_clock_that_was_ahead_does_not_stop_the_schedule,
                    a_run_is_taken_by_exactly_one_caller_and_no_other_run_begins,
                    an_abandoned_run_is_taken_over_by_exactly_one_caller_and_the_first_loses_it,
                    a_run_that_is_alive_or_ended_is_left_alone,
                    a_run_that_is_given_back_is_taken_up_at_once,
                    earlier_ticks_that_no_server_carries_out_are_given_up,
                    a_command_takes_up_its_own_run_only,
                    progress_comes_back_as_it_was_stored,
                    the_last_rebuild_that_was_done_says_what_is_verified,
                }
                fleet::{
                    the_watermark_is_returned_with_rows_and_without_rows,
                    facilities_come_with_the_epoch_and_the_watermark,
                    a_directory_takes_over_no_facility_of_another_epoch,
                    one_key_is_read_as_it_is_read_among_several,
                    the_day_of_a_row_is_told_as_a_read_of_the_row_tells_it,
                    a_watermark_only_rises,
                    a_watermark_of_another_epoch_is_not_stored_and_does_not_count,
                    an_epoch_is_ended_once_together_with_its_watermark,
                    no_two_callers_begin_the_same_generation,
                    a_facility_is_noted_with_its_transaction_or_not_at_all,
                    only_published_outbox_rows_are_deleted,
                    an_outbox_that_grows_keeps_the_last_version_of_each_day,
                    a_missing_row_of_the_fleet_is_named_with_its_remedy,
                    triggers_that_were_off_are_put_back_and_noted_once_with_a_mark_of_everything,
                }
                audit::{
                    a_tampered_row_is_drift,
                    a_difference_under_a_visible_mark_or_a_due_expiry_is_explained,
                    an_exact_table_has_no_differences,
                }
            }
        }
    };
}

contract!(sqlite, super::sqlite_db::SqliteDb::open());
contract!(postgres, super::postgres_db::PostgresDb::open());
