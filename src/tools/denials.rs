//! `token deny`, `token denied` and `token allow`: tokens that do not count any more.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, actor, counted, key::end, open_existing};
use crate::{
    access::{
        denials::{self, DenialWish},
        tokens::{Tokens, shown},
    },
    config::Settings,
    domain::summary::rfc3339,
    startup::Core,
    store::{self, access::DenialRow},
};

/// Which tokens are not to count any more.
#[derive(Args)]
pub struct DenyArgs {
    /// The issuer, as in the claim iss of the tokens
    #[arg(long)]
    issuer: String,
    /// Whose tokens, as in their claim sub
    #[arg(long)]
    subject: String,
    /// Only the token with this claim jti [default: all tokens of the subject]
    #[arg(long, value_name = "JTI")]
    token_id: Option<String>,
    /// When they count again: after so many days, such as 30d, or an instant such as
    /// 2027-01-01T00:00:00Z [default: never, until token allow]
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

/// Carries out `token deny`.
///
/// # Errors
/// The database cannot be opened, or does not answer.
pub async fn deny(args: DenyArgs, settings: Settings) -> Result<ExitCode, Failure> {
    let issuers = Tokens::open(&settings.auth)?;
    let Some(core) = open_existing(settings, "denials").await? else {
        return Ok(ExitCode::from(1));
    };
    let done = deny_in(args, &issuers, &core).await;
    core.store.close().await;
    Ok(done?)
}

async fn deny_in(args: DenyArgs, issuers: &Tokens, core: &Core) -> store::Result<ExitCode> {
    let now_ms = core.store.now_ms().await?;
    let until_ms = match args.until.as_deref().map(|text| (end(text, now_ms), text)) {
        None => None,
        Some((Some(at_ms), _)) => Some(at_ms),
        Some((None, text)) => {
            eprintln!(
                "facility-summary: --until {text}: must be a number of days such as 30d, or an \
                 instant such as 2027-01-01T00:00:00Z"
            );
            return Ok(ExitCode::from(2));
        }
    };
    let DenyArgs { issuer, subject, token_id, .. } = args;
    let wish = DenialWish { issuer, subject, token_id, until_ms };
    if let Some((field, detail)) = wish.fault(now_ms) {
        eprintln!("facility-summary: --{} {detail}", field.replace('_', "-"));
        return Ok(ExitCode::from(2));
    }
    let names = issuers.names();
    if !names.contains(&wish.issuer.as_str()) {
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        eprintln!(
            "facility-summary: warning: {} is not an issuer in these settings (those are: \
             {names}), so that there its tokens do not count anyway",
            shown(&wish.issuer)
        );
    }
    let row = denials::deny(&*core.store, wish, actor()).await?;
    println!("{}", line(&row, now_ms));
    Ok(ExitCode::SUCCESS)
}

/// Carries out `token denied`.
///
/// # Errors
/// The database cannot be opened, or does not answer.
pub async fn list(settings: Settings) -> Result<ExitCode, Failure> {
    let Some(core) = open_existing(settings, "denials").await? else {
        return Ok(ExitCode::from(1));
    };
    let rows = core.store.denials().await;
    let now_ms = core.store.now_ms().await;
    core.store.close().await;
    let (rows, now_ms) = (rows?, now_ms?);
    rows.iter().for_each(|row| println!("{}", line(row, now_ms)));
    println!("{}.", counted(rows.len() as u64, "denial", "denials"));
    Ok(ExitCode::SUCCESS)
}

/// Carries out `token allow`.
///
/// # Errors
/// The database cannot be opened, or does not answer.
pub async fn allow(id: &str, settings: Settings) -> Result<ExitCode, Failure> {
    let Some(core) = open_existing(settings, "denials").await? else {
        return Ok(ExitCode::from(1));
    };
    let done = denials::allow(&*core.store, id, actor()).await;
    core.store.close().await;
    if done? {
        println!("The denial {id} is taken back: these tokens count again, as far as they do.");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "facility-summary: no denial has the id {id:?}, or it was taken back before; see \
         facility-summary token denied"
    );
    Ok(ExitCode::from(1))
}

fn line(row: &DenialRow, now_ms: i64) -> String {
    let token = match &row.token_id {
        None => "all tokens".to_owned(),
        Some(id) => format!("the token {}", shown(id)),
    };
    let state = match row.until_ms {
        Some(at_ms) if at_ms <= now_ms => format!("ended {}", rfc3339(at_ms)),
        Some(at_ms) => format!("until {}", rfc3339(at_ms)),
        None => "no end".to_owned(),
    };
    format!(
        "{}  {token} of {} by {}  made {} by {}  {state}",
        row.id,
        shown(&row.subject),
        shown(&row.issuer),
        rfc3339(row.created_ms),
        row.created_by
    )
}
