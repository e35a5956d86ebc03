//! The protocol's rules, each broken in turn: a simulation that does not notice is too tame, or the
//! rule is not needed. (One was not: that no outbox row be deleted once a later generation has
//! begun than the one that the look found. Rule 8 in docs/freshness.md says why.)
//!
//! Nothing in the service can be switched off for it. What is broken is what the simulated world
//! does around the service's own code: what it passes to it, in which order, and what it does with
//! the answer.

use crate::{
    by_hand::{self, Script},
    pace::Theme,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// R1: the snapshot is taken before the lock, so that the slower of two refreshes writes older
    /// figures over newer.
    SnapshotBeforeLock,
    /// R2: a refresh deletes all marks of its key, and not only those that were seen before its
    /// snapshot.
    DeletesUnseenMarks,
    /// R3: the outbox row is not in the transaction of the refresh, and is lost where its writer
    /// dies after the commit.
    OutboxAfterCommit,
    /// R4: a watermark is announced although something visible is unpublished.
    AnnouncesUnpublished,
    /// R4: only the first look's outbox counts, and not what another server has committed while the
    /// marks were dealt with.
    LooksOnce,
    /// R4: a watermark is announced in the generation of the first look, though by the second
    /// another has begun.
    AnnouncesAcrossGenerations,
    /// R4: outbox rows are deleted though nobody has published them.
    ForgetsUnpublished,
    /// R5: a message that was missed is numbered over.
    IgnoresGaps,
    /// R6: a fill is judged from where the replica stands when it ends, and not from where it stood
    /// before the read.
    LateVantage,
    /// R6: a message is taken for one of a change behind it, be it an old one that was published
    /// again.
    TrustsMessages,
    /// R6: what a lagging replica answers is taken for what the primary would.
    TrustsLaggingReplicas,
    /// R6: what lies in Redis is taken for what the primary would answer now.
    TrustsRedis,
    /// The number of an old generation's position is taken for one of this generation.
    JoinsOldGenerations,
    /// What came by in an old generation is taken for shown in this one.
    ShownInAnyGeneration,
    /// The stream goes on where another run of its server left it, with its tail lost.
    AppendsToAnyRun,
    /// Of two primaries of Redis the old one is told what was proven in the new one's generation.
    AppendsToEarlier,
    /// A newer version held does not keep an older one out.
    NoVersionCompare,
    /// What was read in the history before is put into memory.
    FillsOldHistory,
    /// A replica goes on consuming the stream of the history before.
    FollowsOldHistory,
    /// What was committed in the history before is published in the next.
    PublishesOldHistory,
    /// What a pass reads in another history than it looked at is published in that.
    PublishesAnyHistory,
    /// The tier's keys do not carry the epoch.
    OneTierForAll,
    /// R9: a watermark is announced before it is stored, so that a database that has lost nothing
    /// is seen to lack it.
    AnnouncesUnstored,
    /// What the database has lost is not noticed.
    IgnoresLosses,
    /// What a pass looked at before the database was restored is stored, or forgotten, after it.
    OutlivesItsConnection,
    /// A clock set back is not noticed.
    IgnoresSetBack,
    /// The watermark is read after the row, in a statement of its own.
    WatermarkReadLater,
    /// The watermark claims the instant after the look.
    WatermarkOfLater,
    /// Expiries that are due are no reason to wait with a watermark, and entries do not know of
    /// theirs.
    IgnoresExpiries,
    /// A mark is resolved once, and after a change of zone taken for the date of that name.
    RezonesMarks,
    /// Which days a change of zone is about is asked before the lock, and not once it is held.
    DaysBeforeLock,
    /// A mark names the facility that a bank was in for the statement, and not the bank.
    BankOfTheStatement,
    /// The rows of a facility are removed without looking again, once it is locked, whether it is
    /// gone.
    RemovesBlindly,
    /// Of a facility that has come back the versions of its former life count.
    NoFenceOfLives,
    /// Figures of another zone's day of that name are taken for the day's.
    AnyDayOfThatName,
    /// A hit claims what watermarks prove, whatever the directory is exact as of.
    HitsWithoutDirectory,
    /// A watermark counts for the directory before what was heard of facilities is read.
    DirectoryCountsUnread,
    /// The first message after a start does not make the directory be read again.
    TrustsItsFirstDirectory,
    /// What the drain finds of facilities is not told in the stream.
    KeepsFacilitiesToItself,
    /// A row of the table is taken without the zone of its own snapshot.
    ZoneOfTheDirectory,
    /// So are the rows of a list.
    ListsWithoutZones,
    /// A list claims what is proven of the table, whatever the directory is exact as of.
    ListsWithoutDirectory,
    /// The directory does not start over in another history.
    KeepsOldDirectory,
    /// A change of zone leaves the rows of days that have not begun in the new zone as they are.
    LeavesRowsOfTheZoneBefore,
    /// What changed of facilities between the two looks of a pass does not keep it from announcing
    /// the first.
    AnnouncesWhatHasMoved,
}

impl Mutant {
    pub const ALL: [Mutant; 45] = [
        Mutant::SnapshotBeforeLock,
        Mutant::DeletesUnseenMarks,
        Mutant::OutboxAfterCommit,
        Mutant::AnnouncesUnpublished,
        Mutant::LooksOnce,
        Mutant::AnnouncesAcrossGenerations,
        Mutant::ForgetsUnpublished,
        Mutant::IgnoresGaps,
        Mutant::LateVantage,
        Mutant::TrustsMessages,
        Mutant::TrustsLaggingReplicas,
        Mutant::TrustsRedis,
        Mutant::JoinsOldGenerations,
        Mutant::ShownInAnyGeneration,
        Mutant::AppendsToAnyRun,
        Mutant::AppendsToEarlier,
        Mutant::NoVersionCompare,
        Mutant::FillsOldHistory,
        Mutant::FollowsOldHistory,
        Mutant::PublishesOldHistory,
        Mutant::PublishesAnyHistory,
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
        Mutant::ListsWithoutZones,
        Mutant::ListsWithoutDirectory,
        Mutant::KeepsOldDirectory,
        Mutant::LeavesRowsOfTheZoneBefore,
        Mutant::AnnouncesWhatHasMoved,
    ];

    /// What a schedule has to be about to find it out soon.
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
            | Mutant::AnyDayOfThatName => Some(Theme::Moves),
            _ => None,
        }
    }

    /// The schedule by hand that finds it out, where random ones hardly would.
    pub fn script(self) -> Option<Script> {
        match self {
            Mutant::AnnouncesUnstored => Some(by_hand::heard_by_one_that_looks),
            Mutant::AnnouncesAcrossGenerations => Some(by_hand::published_by_the_new_primary),
            Mutant::JoinsOldGenerations => Some(by_hand::an_entry_of_the_generation_before),
            Mutant::ShownInAnyGeneration => Some(by_hand::shown_by_the_old_primary),
            Mutant::PublishesAnyHistory => Some(by_hand::published_from_the_history_behind),
            Mutant::OneTierForAll => Some(by_hand::an_entry_of_the_history_before),
            Mutant::OutlivesItsConnection => Some(by_hand::forgotten_in_the_history_behind),
            Mutant::TrustsRedis => Some(by_hand::an_entry_that_nobody_remembers_a_successor_of),
            Mutant::AnnouncesWhatHasMoved => Some(by_hand::a_facility_that_goes_after_the_look),
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
