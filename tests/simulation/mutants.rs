//! The rules of the protocol. The simulation breaks each of them in turn. If it finds no wrong
//! answer then, its schedules are too simple, or the rule is not needed. (One rule was not needed:
//! to delete no outbox row when a later generation has begun than the drain snapshot shows. Rule 8
//! in docs/freshness.md says why. Of the hub, it was not needed to begin its replay anew after a
//! gap,
//! and to send the new day to whoever comes back after a midnight: what memory takes in later is
//! noted as changed anyway. And that a facility is read again which a message only names: its days
//! without a row are not shown, and what changes it has a message of its own.)
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
    // The rules of the hub, which subscribers see broken. `is_of_hub` relies on the order.
    /// A shard takes what has come before it loads how far that is proven, so that a change in
    /// between
    /// is proven and not sent.
    TakesBeforeItLoads,
    /// A heartbeat is sent before the figures that it is about.
    ProvesBeforeItSends,
    /// A heartbeat does not wait for the facilities of a client that comes back.
    ProvesWhatIsHeld,
    /// A heartbeat claims what is proven of the figures, although the directory may be exact as of
    /// an earlier instant.
    HeartbeatsWithoutDirectory,
    /// A shard hears of the changes of a facility once it was read, and not from before the read.
    HearsOnceItIsRead,
    /// A state that was read replaces a newer one that came meanwhile.
    LateReadsReplaceNewer,
    /// What was read is shown as exact as of the read.
    ShowsReadsAsYoung,
    /// A shard is not told of the facilities that the directory has changed.
    ShardsIgnoreMoves,
    /// Later watermarks count for a facility that was named and not read again.
    TrustsDoubtfulDays,
    /// What is shown of a day is proven beyond its midnight, and stays.
    DaysDoNotEnd,
    /// Clients are not told that another epoch is served.
    KeepsEpochToItself,
    /// A state of the epoch before is handed out in the next one.
    PushesOfAnyEpoch,
    /// What was sent in the epoch before counts as sent.
    CountsWhatWasSentBefore,
    /// What a client has of another epoch counts as known.
    KnowsFromAnyEpoch,
    /// A client that knows a version is shown an older one by a replica that is behind.
    ShowsOlderThanKnown,
    /// Each event has the id of the position that the replica has reached, whatever waits.
    NumbersEachEvent,
    /// A client that comes back is shown what is there at once, though it may be older.
    GoesOnAtOnce,
    /// A client that asks for other facilities than before goes on with the id that it has.
    ResumesOtherFacilities,
    /// What has changed behind a position is not remembered.
    ReplayForgetsChanges,
    /// Clients are not told that the changes of other servers do not arrive.
    HidesLosses,
    /// A client that follows all counts as having what was not sent yet.
    SkipsTheFeed,
    /// A change of what a client may see changes nothing of what it follows.
    ViewsChangeUntold,
    /// Totals of the facilities that a client could see before prove those that it may see now.
    TotalsOfTheViewBefore,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 74] = [
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
        Mutant::TakesBeforeItLoads,
        Mutant::ProvesBeforeItSends,
        Mutant::ProvesWhatIsHeld,
        Mutant::HeartbeatsWithoutDirectory,
        Mutant::HearsOnceItIsRead,
        Mutant::LateReadsReplaceNewer,
        Mutant::ShowsReadsAsYoung,
        Mutant::ShardsIgnoreMoves,
        Mutant::TrustsDoubtfulDays,
        Mutant::DaysDoNotEnd,
        Mutant::KeepsEpochToItself,
        Mutant::PushesOfAnyEpoch,
        Mutant::CountsWhatWasSentBefore,
        Mutant::KnowsFromAnyEpoch,
        Mutant::ShowsOlderThanKnown,
        Mutant::NumbersEachEvent,
        Mutant::GoesOnAtOnce,
        Mutant::ResumesOtherFacilities,
        Mutant::ReplayForgetsChanges,
        Mutant::HidesLosses,
        Mutant::SkipsTheFeed,
        Mutant::ViewsChangeUntold,
        Mutant::TotalsOfTheViewBefore,
    ];

    /// Whether it is a rule of the hub: then only what subscribers are told is checked.
    pub fn is_of_hub(self) -> bool {
        self as usize >= Mutant::TakesBeforeItLoads as usize
    }

    /// Whether it can be seen at a midnight only.
    pub fn is_of_midnight(self) -> bool {
        self == Mutant::DaysDoNotEnd
    }

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
            | Mutant::EmptyDaysOutliveMoves
            | Mutant::HeartbeatsWithoutDirectory
            | Mutant::ShardsIgnoreMoves
            | Mutant::TrustsDoubtfulDays => Some(Theme::Moves),
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
            Mutant::TakesBeforeItLoads => Some(by_hand::a_change_and_its_proof_between_two_turns),
            Mutant::ProvesWhatIsHeld => Some(by_hand::a_heartbeat_while_it_waits),
            Mutant::KnowsFromAnyEpoch => Some(by_hand::the_same_tag_in_another_epoch),
            Mutant::ShowsOlderThanKnown => Some(by_hand::a_version_that_is_not_here_yet),
            Mutant::NumbersEachEvent => Some(by_hand::a_position_ahead_of_what_was_sent),
            _ => None,
        }
    }
}
