//! The rules of the protocol. The simulation breaks each of them in turn. If it finds no wrong
//! answer then, its schedules are too simple, or the rule is not needed. (One rule was not needed:
//! to delete no outbox row when a later generation has begun than the drain snapshot shows. Rule 8
//! in docs/freshness.md says why.)
//!
//! The service has no switches for this. The simulated world around the service's own code breaks
//! the rule: by what it passes to that code, in which order, and by what it does with the result.

use crate::{
    by_hand::{self, Script},
    pace::Theme,
};

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// R1: the snapshot is taken before the lock, so that the slower of two refreshes writes older
    /// figures over newer ones.
    SnapshotBeforeLock,
    /// R2: a refresh deletes all marks of its key, not only those that were seen before its
    /// snapshot.
    DeletesUnseenMarks,
    /// R3: the outbox row is not in the transaction of the refresh, and is lost when its writer
    /// dies after the commit.
    OutboxAfterCommit,
    /// R4: a watermark is announced although something visible is not published.
    AnnouncesUnpublished,
    /// R4: only the outbox of the first drain snapshot counts, and not what another server has
    /// committed while the marks were processed.
    LooksOnce,
    /// R4: a watermark is announced in the generation of the first drain snapshot, although the
    /// second one shows another generation.
    AnnouncesAcrossGenerations,
    /// R4: outbox rows are deleted although they are not published.
    ForgetsUnpublished,
    /// R5: the gap that a missed message leaves in the numbers is ignored.
    IgnoresGaps,
    /// R6: a fill is judged by the replica's position when the read ends, and not by its position
    /// before the read.
    LateFillToken,
    /// R6: a message counts as a change at its own position, although it may be an old change that
    /// was published again.
    TrustsMessages,
    /// R6: later watermarks count for a day without a row although its facility was told to have
    /// changed, and may have been in another zone for a while.
    EmptyDaysOutliveMoves,
    /// R6: an answer of a standby that lags counts like one of the primary.
    TrustsLaggingReplicas,
    /// R6: an entry in Redis counts like an answer that the primary would give now.
    TrustsRedis,
    /// R7: each process without Redis numbers the stream within it in the same generation. A
    /// position that a standby has of an earlier process is taken for one of this process.
    NumbersProcessesAlike,
    /// The number of a position in an old generation is taken for a number in the current one.
    JoinsOldGenerations,
    /// What was published in an old generation counts as published in the current one.
    ShownInAnyGeneration,
    /// The stream is continued where an earlier run of Redis left it, although its end is lost.
    AppendsToAnyRun,
    /// While two Redis servers act as the primary, the old one gets the watermark that was proven
    /// in the generation of the new one.
    AppendsToEarlier,
    /// An older version may replace a newer one in memory.
    NoVersionCompare,
    /// What was read in the epoch before is put into memory.
    FillsOldHistory,
    /// A replica goes on consuming the stream of the epoch before.
    FollowsOldHistory,
    /// What was committed in the epoch before is published in the next one.
    PublishesOldHistory,
    /// What a pass reads in another epoch than that of its drain snapshot is published in the
    /// snapshot's epoch.
    PublishesAnyHistory,
    /// R10: the directory takes over facilities that were read in another epoch than the one that
    /// is served.
    FacilitiesOfAnyHistory,
    /// R10: the directory takes over facilities of a restored copy, which has the epoch that is
    /// served and lacks a watermark.
    FacilitiesOfAnyCopy,
    /// The keys of the Redis tier do not contain the epoch.
    OneTierForAll,
    /// R9: a watermark is announced before it is stored, so that a database that has lost nothing
    /// seems to lack it.
    AnnouncesUnstored,
    /// The losses of the database are not noticed.
    IgnoresLosses,
    /// After a restore of the database, a pass still stores or deletes what it had seen before it.
    OutlivesItsConnection,
    /// A clock that was set back is not noticed.
    IgnoresSetBack,
    /// The watermark is read after the row, in a statement of its own.
    WatermarkReadLater,
    /// The watermark claims an instant after the drain snapshot.
    WatermarkOfLater,
    /// A watermark does not wait for expiries that are due, and entries do not contain theirs.
    IgnoresExpiries,
    /// The days of a mark are found once, and after a change of zone they count as the days with
    /// the same dates.
    RezonesMarks,
    /// The days that a change of zone concerns are read before the lock is taken, and not after.
    DaysBeforeLock,
    /// A mark names the facility that a bank was in when the statement ran, and not the bank.
    BankOfTheStatement,
    /// The rows of a facility are removed without a second look, under its lock, at whether it is
    /// gone.
    RemovesBlindly,
    /// Versions of the former life count for a facility that was registered again.
    NoFenceOfLives,
    /// Figures of a day in another zone count for the day with the same date.
    AnyDayOfThatName,
    /// A hit in memory claims what the watermark proves, although the directory may be exact as of
    /// an earlier instant.
    HitsWithoutDirectory,
    /// A watermark counts for the directory before the directory has read the facilities that
    /// earlier messages name.
    DirectoryCountsUnread,
    /// The first message after a start does not cause a new read of the directory.
    TrustsItsFirstDirectory,
    /// The drain sends no message about changed facilities that it finds.
    KeepsFacilitiesToItself,
    /// A row of the table is used without the zone in its own snapshot.
    ZoneOfTheDirectory,
    /// A view takes rows without the zones in their own snapshot.
    ViewsWithoutZones,
    /// A view is not told of changes: its page goes on to claim what the view claims.
    ViewsForgetAChange,
    /// A view claims what is proven of its entries, although the directory may be exact as of an
    /// earlier instant.
    ViewsWithoutDirectory,
    /// The directory does not start over in another epoch.
    KeepsOldDirectory,
    /// After a change of zone, rows of days that have not begun in the new zone stay as they are.
    LeavesRowsOfTheZoneBefore,
    /// A pass announces the first snapshot's watermark although a facility changed between its two
    /// snapshots.
    AnnouncesWhatHasMoved,
    /// A pass announces the first snapshot's watermark although the second one is full, and may not
    /// show that a facility has changed.
    AnnouncesWhatMayHaveMoved,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 51] = [
        Mutant::SnapshotBeforeLock,
        Mutant::DeletesUnseenMarks,
        Mutant::OutboxAfterCommit,
        Mutant::AnnouncesUnpublished,
        Mutant::LooksOnce,
        Mutant::AnnouncesAcrossGenerations,
        Mutant::ForgetsUnpublished,
        Mutant::IgnoresGaps,
        Mutant::LateFillToken,
        Mutant::TrustsMessages,
        Mutant::EmptyDaysOutliveMoves,
        Mutant::TrustsLaggingReplicas,
        Mutant::TrustsRedis,
        Mutant::NumbersProcessesAlike,
        Mutant::JoinsOldGenerations,
        Mutant::ShownInAnyGeneration,
        Mutant::AppendsToAnyRun,
        Mutant::AppendsToEarlier,
        Mutant::NoVersionCompare,
        Mutant::FillsOldHistory,
        Mutant::FollowsOldHistory,
        Mutant::PublishesOldHistory,
        Mutant::PublishesAnyHistory,
        Mutant::FacilitiesOfAnyHistory,
        Mutant::FacilitiesOfAnyCopy,
        Mutant::OneTierForAll,
        Mutant::AnnouncesUnstored,
        Mutant::IgnoresLosses,
        Mutant::OutlivesItsConnection,
        Mutant::IgnoresSetBack,
        Mutant::WatermarkReadLater,
        Mutant::WatermarkOfLater,
        Mutant::IgnoresExpiries,
        Mutant::RezonesMarks,
        Mutant::DaysBeforeLock,
        Mutant::BankOfTheStatement,
        Mutant::RemovesBlindly,
        Mutant::NoFenceOfLives,
        Mutant::AnyDayOfThatName,
        Mutant::HitsWithoutDirectory,
        Mutant::DirectoryCountsUnread,
        Mutant::TrustsItsFirstDirectory,
        Mutant::KeepsFacilitiesToItself,
        Mutant::ZoneOfTheDirectory,
        Mutant::ViewsWithoutZones,
        Mutant::ViewsForgetAChange,
        Mutant::ViewsWithoutDirectory,
        Mutant::KeepsOldDirectory,
        Mutant::LeavesRowsOfTheZoneBefore,
        Mutant::AnnouncesWhatHasMoved,
        Mutant::AnnouncesWhatMayHaveMoved,
    ];

    /// The theme that a schedule must have to find this mutant soon.
    pub fn theme(self) -> Option<Theme> {
        match self {
            Mutant::IgnoresGaps
            | Mutant::TrustsMessages
            | Mutant::TrustsLaggingReplicas
            | Mutant::TrustsRedis => Some(Theme::Forgets),
            Mutant::AppendsToEarlier => Some(Theme::Splits),
            Mutant::KeepsOldDirectory => Some(Theme::MovesAndGoesBack),
            Mutant::RezonesMarks
            | Mutant::DaysBeforeLock
            | Mutant::BankOfTheStatement
            | Mutant::RemovesBlindly
            | Mutant::NoFenceOfLives
            | Mutant::LeavesRowsOfTheZoneBefore
            | Mutant::HitsWithoutDirectory
            | Mutant::AnyDayOfThatName
            | Mutant::EmptyDaysOutliveMoves => Some(Theme::Moves),
            _ => None,
        }
    }

    /// The schedule written by hand that finds this mutant, when random ones hardly would.
    pub fn script(self) -> Option<Script> {
        match self {
            Mutant::AnnouncesUnstored => Some(by_hand::received_before_it_is_stored),
            Mutant::AnnouncesAcrossGenerations => Some(by_hand::published_by_the_new_primary),
            Mutant::NumbersProcessesAlike => Some(by_hand::a_watermark_of_the_process_before),
            Mutant::JoinsOldGenerations => Some(by_hand::an_entry_of_the_generation_before),
            Mutant::ShownInAnyGeneration => Some(by_hand::shown_by_the_old_primary),
            Mutant::PublishesAnyHistory => Some(by_hand::published_from_the_epoch_before),
            Mutant::FacilitiesOfAnyHistory => Some(by_hand::a_facility_of_the_epoch_after),
            Mutant::FacilitiesOfAnyCopy => Some(by_hand::a_facility_of_a_restored_copy),
            Mutant::OneTierForAll => Some(by_hand::an_entry_of_the_epoch_before),
            Mutant::OutlivesItsConnection => Some(by_hand::deleted_in_the_epoch_before),
            Mutant::TrustsRedis => Some(by_hand::an_entry_with_a_forgotten_successor),
            Mutant::AnnouncesWhatHasMoved => Some(by_hand::a_facility_removed_after_the_snapshot),
            Mutant::AnnouncesWhatMayHaveMoved => {
                Some(by_hand::a_facility_removed_behind_a_full_batch)
            }
            Mutant::EmptyDaysOutliveMoves => {
                Some(by_hand::a_day_without_a_row_in_a_zone_that_came_back)
            }
            Mutant::TrustsItsFirstDirectory => Some(by_hand::a_directory_of_before_the_stream),
            Mutant::RezonesMarks => Some(by_hand::a_mark_of_the_zone_before),
            Mutant::DaysBeforeLock => Some(by_hand::a_request_beside_a_change_of_zone),
            Mutant::BankOfTheStatement => Some(by_hand::units_of_a_bank_that_moves),
            Mutant::RemovesBlindly => Some(by_hand::registered_again_beside_its_removal),
            Mutant::NoFenceOfLives => Some(by_hand::an_entry_of_the_life_before),
            _ => None,
        }
    }
}
