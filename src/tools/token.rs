//! `token`: makes tokens, and says why one is accepted or not, without a database; and denies those
//! that are not to count any more.

use std::{
    io::Read,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::denials::{self, DenyArgs};
use crate::{
    access::tokens::{
        Explained, Tokens, Verified, compact, in_words,
        mint::{LONGEST, Mint, mint},
    },
    config::{Settings, SettingsError, auth::AuthSettings},
    domain::access::{FacilityScope, Role},
};

/// What `token` does.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token, signed with auth.secret, and print it
    #[command(after_help = "Examples:\n  facility-summary token mint --role viewer --facility \
                            7f1c5a52-3c1f-4d0e-9a53-0c3f3f0e8a11\n  facility-summary token mint \
                            --role operator --all-facilities --ttl 7d --name 'night shift'")]
    Mint(MintArgs),
    /// Say step by step why a token is accepted or not, and what it may see
    ///
    /// Nothing is changed, and no database is needed. Keys of a provider are fetched. Exit code 0:
    /// the token is accepted; 1: it is not.
    #[command(after_help = "Examples:\n  facility-summary token explain - < token.txt\n  \
                            facility-summary token mint --role admin | facility-summary token \
                            explain -")]
    Explain {
        /// The token, or - to read it from standard input, where other users of this machine do not
        /// see it
        #[arg(value_name = "JWT | -")]
        token: String,
    },
    /// End a token of an issuer, or all tokens of a subject, before they end themselves
    ///
    /// Within two seconds no server takes them any more. A denial without --until stays until
    /// `token allow`, and counts for tokens that the provider gives to that subject later, too. The
    /// same denial again takes the place of the one before.
    #[command(after_help = "Examples:\n  facility-summary token deny --issuer \
                            https://login.example/realms/blood --subject 5b1f0c7e-ann\n  \
                            facility-summary token deny --issuer facility-summary --subject \
                            018f4e2a-0000-7000-8000-000000000001 --until 30d")]
    Deny(DenyArgs),
    /// List the denials: id, tokens, who made each and when, end
    #[command(after_help = "Example:\n  facility-summary token denied")]
    Denied,
    /// Take a denial back: tokens that have not ended count again
    #[command(after_help = "Example:\n  facility-summary token allow 3f6c0a9d5e1b7c2f48a0d913")]
    Allow {
        /// The id of the denial, as `token denied` shows it
        id: String,
    },
}

/// What a token is to allow.
#[derive(Args)]
pub struct MintArgs {
    /// viewer, operator, admin, service or metrics
    #[arg(long)]
    role: Role,
    /// The id of a facility that a viewer or an operator may see; several with spaces between them
    #[arg(long, value_name = "ID", num_args = 1.., conflicts_with = "all_facilities")]
    facility: Vec<Uuid>,
    /// A viewer or an operator may see all facilities, also those to come
    #[arg(long)]
    all_facilities: bool,
    /// How long it is valid: 90s, 15m, 1h, 7d; at most 30d
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Whose token it is, for people
    #[arg(long)]
    name: Option<String>,
}

/// Carries it out. Exit code 2 where the settings or the arguments cannot be used.
///
/// # Errors
/// Of denials: the database cannot be opened, or does not answer.
pub async fn run(
    command: TokenCommand,
    settings: Settings,
) -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
    let result = match command {
        TokenCommand::Mint(args) => mint_one(args, &settings.auth),
        TokenCommand::Explain { token } => explain(&token, &settings.auth).await,
        TokenCommand::Deny(args) => return denials::deny(args, settings).await,
        TokenCommand::Denied => return denials::list(settings).await,
        TokenCommand::Allow { id } => return denials::allow(&id, settings).await,
    };
    Ok(result.unwrap_or_else(|error| {
        eprintln!("facility-summary: {error}");
        ExitCode::from(2)
    }))
}

fn mint_one(args: MintArgs, settings: &AuthSettings) -> Result<ExitCode, String> {
    let is_limited = args.role.is_of_facilities();
    let facilities = match (is_limited, args.facility.is_empty(), args.all_facilities) {
        (true, true, false) => {
            return Err(format!(
                "a {} sees the facilities that its token names: --facility ID…, or \
                 --all-facilities",
                args.role
            ));
        }
        (false, false, _) => {
            return Err(format!("the role {} is not about single facilities", args.role));
        }
        (true, false, _) => FacilityScope::of_ids(args.facility),
        _ => FacilityScope::All,
    };
    let what = Mint { role: args.role, facilities, ttl: args.ttl, name: args.name };
    let minted = mint(settings, &what, now_ms()).map_err(|error| error.to_string())?;
    println!("{}", minted.token);
    eprintln!(
        "{} is {} for facilities: {}; until {}",
        minted.principal,
        what.role,
        in_words(&what.facilities),
        jiff::Timestamp::from_millisecond(minted.expires_ms).unwrap_or_default()
    );
    Ok(ExitCode::SUCCESS)
}

async fn explain(token: &str, settings: &AuthSettings) -> Result<ExitCode, String> {
    let tokens = Tokens::open(settings).map_err(|error: SettingsError| error.to_string())?;
    if tokens.is_empty() {
        return Err("no issuer is configured: set auth.issuer or auth.secret".into());
    }
    let token = match token {
        "-" => from_input().map_err(|error| format!("standard input: {error}"))?,
        token => token.to_owned(),
    };
    let token = token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let Explained { steps, outcome } = tokens.explain(token, now_ms()).await;
    for step in steps {
        println!("ok  {step}");
    }
    match outcome {
        Ok(verified) => {
            println!("accepted: {}", allowed(&verified));
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => {
            println!("NO  {refusal}\nnot accepted");
            Ok(ExitCode::from(1))
        }
    }
}

/// A token from standard input. More than a token can have is not read.
fn from_input() -> std::io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(2 * compact::MOST_BYTES).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// What a principal may do, in words.
fn allowed(verified: &Verified) -> String {
    let principal = &verified.principal;
    let facilities = in_words(&principal.facilities);
    let may = match principal.role {
        Role::Viewer => format!("may read the figures of facilities: {facilities}"),
        Role::Operator => {
            format!("may read the figures, post events and refresh, of facilities: {facilities}")
        }
        Role::Admin => "may do everything".into(),
        Role::Service => "may post events of every facility, and read no figures".into(),
        Role::Metrics => "may read the metrics".into(),
    };
    format!("{} ({:?}), {}, {may}", principal.id, principal.name, principal.role)
}

fn duration(text: &str) -> Result<Duration, String> {
    let right = || format!("expected a time such as 90s, 15m, 1h or 7d, up to 30d, not {text:?}");
    let (at, unit) = text.char_indices().next_back().ok_or_else(right)?;
    let number: u64 = text[..at].parse().map_err(|_| right())?;
    let unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(right()),
    };
    let time = number.checked_mul(unit).map(Duration::from_secs).ok_or_else(right)?;
    if time.is_zero() || time > LONGEST { Err(right()) } else { Ok(time) }
}

/// The time of this machine, as there is no database's here.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
