//! Sign-in of people by a password or by the code for the first account, and sign-out.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::{self, Data},
};
use serde::{Deserialize, Serialize};

use super::{
    content_type, cookies, cross_site,
    entrance::{actor, client_address, who},
    fields::{self, EventFields, fault},
    me::Me,
    problem::{InputError, Problem},
    query,
    response_headers::no_store,
    state::AppState,
};
use crate::access::{
    People,
    accounts::{self, AccountWish, NAME_RULE},
    passwords,
    sign_in::{Begun, FIRST_ROLE, Origin, Refused},
};

/// A name and a password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The name of the account.
    #[schema(max_length = 100, example = "anna")]
    pub name: String,
    /// Its password.
    #[schema(max_length = 1000)]
    pub password: String,
}

/// The first account.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The code from the log.
    #[schema(max_length = 100, example = "0a1b-2c3d-4e5f-6g7h-8j9k-0m1n-2p3q")]
    pub code: String,
    /// The name of the new account.
    #[schema(min_length = 1, max_length = 100, example = "anna")]
    pub name: String,
    /// Its password.
    #[schema(min_length = 12, max_length = 1000)]
    pub password: String,
}

/// How a browser goes on after it has signed out.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SignedOut {
    /// Where it ends its session at the provider, too; null where there is none to end.
    pub end_session_url: Option<String>,
}

/// Signs in by a password: the answer sets the cookie of a session.
#[utoipa::path(
    post, path = "/v1/auth/login", tag = "access", operation_id = "login",
    request_body = Login,
    responses(
        (status = 200, body = Me),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn login(
    request: HttpRequest,
    app: Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (people, (name, password)) = sent(&request, &app, payload, |f| {
        let (name, password) = (f.secret("name"), f.secret("password"));
        Some((name?, password?))
    })
    .await?;
    let is_long = |text: &str, most: usize| text.len() > most;
    if is_long(&name, accounts::NAME_CHARS) || is_long(&password, passwords::MOST_BYTES) {
        let detail = "a name has at most 100 bytes, and a password 1000".to_owned();
        return Err(Problem::invalid(vec![InputError { pointer: String::new(), detail }]));
    }
    let origin = origin(&request);
    let sign_in = people.sign_in;
    let beginning = async move { sign_in.by_password(&name, password, &origin).await };
    let wrong = "The name or the password is wrong, or the account cannot be used any more.";
    signed_in(&app, beginning, wrong).await
}

/// Makes the first account, an admin, by the code that the log shows while nobody can sign in.
#[utoipa::path(
    post, path = "/v1/auth/setup", tag = "access", operation_id = "setup",
    request_body = Setup,
    responses(
        (status = 200, body = Me),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn setup(
    request: HttpRequest,
    app: Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (people, (code, name, password)) = sent(&request, &app, payload, |f| {
        let (code, name, password) = (f.secret("code"), f.secret("name"), f.secret("password"));
        Some((code?, name?, password?))
    })
    .await?;
    if !people.sign_in.is_closed() {
        return Err(Problem::not_found(
            "There is nothing to set up: somebody can sign in already.",
        ));
    }
    if code.len() > 100 {
        return Err(fault("code", "a code has at most 100 bytes".to_owned()));
    }
    let name = accounts::name_of(&name).ok_or_else(|| fault("name", NAME_RULE.to_owned()))?;
    if let Some(detail) = passwords::fault(&password, &name) {
        return Err(fault("password", detail));
    }
    let wish = AccountWish { name, role: FIRST_ROLE, facilities: None };
    let origin = origin(&request);
    let sign_in = people.sign_in;
    let beginning = async move { sign_in.set_up(&code, wish, password, &origin).await };
    let wrong = "The code is none of those that count: use the one that the log of the last start \
        shows. Where somebody could sign in since, start the service anew for another one, or use \
        `facility-summary user add`.";
    signed_in(&app, beginning, wrong).await
}

/// Ends the session of this browser.
#[utoipa::path(
    post, path = "/v1/auth/logout", tag = "access", operation_id = "logout",
    responses(
        (status = 200, body = SignedOut),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn logout(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let who = who(&request);
    let session = who.as_ref().and_then(|who| who.session_id()).map(str::to_owned);
    let (Some(session), Some(people)) = (session, app.people.clone()) else {
        return Err(Problem::not_found(
            "There is no session to end: this request is not signed in by one. A key is revoked \
             by DELETE /v1/api-keys/{id}.",
        ));
    };
    let by = actor(&request);
    let ended = app.detached(async move { people.sign_out(&session, by).await }).await?;
    let mut response = no_store(StatusCode::OK);
    response.insert_header((header::SET_COOKIE, cookies::end_session()));
    Ok(response.json(SignedOut { end_session_url: ended }))
}

/// What signs people in. 404 where there is no sign-in.
pub(super) fn people(request: &HttpRequest, app: &AppState) -> Result<People, Problem> {
    query::none(request.query_string())?;
    app.people.clone().ok_or_else(|| Problem::not_found(OFF))
}

/// Where there is no sign-in.
pub(super) const OFF: &str = "Sign-in is off here, and nobody needs it: setting auth.sign_in.";

/// From where a request comes.
pub(super) fn origin(request: &HttpRequest) -> Origin {
    let agent = request.headers().get(header::USER_AGENT).and_then(|text| text.to_str().ok());
    Origin { address: client_address(request), agent: agent.map(str::to_owned) }
}

/// What a page of this service has sent to sign somebody in. No answer shows anything of it.
async fn sent<T>(
    request: &HttpRequest,
    app: &AppState,
    payload: web::Payload,
    read: impl FnOnce(&mut EventFields) -> Option<T>,
) -> Result<(People, T), Problem> {
    let people = people(request, app)?;
    let body = super::events::body(request, payload, app).await?;
    let sent = fields::of_body(content_type(request), &body, read)?;
    cross_site::require_own_page(request.headers(), people.sign_in.own_origin())?;
    Ok((people, sent))
}

/// Begins a session, and sets its cookie. `wrong` is what somebody is told who has sent what does
/// not fit.
async fn signed_in(
    app: &AppState,
    beginning: impl Future<Output = Result<Begun, Refused>> + Send + 'static,
    wrong: &str,
) -> Result<HttpResponse, Problem> {
    let begun = app.detached(beginning).await.map_err(|refused| problem(refused, wrong))?;
    let mut response = no_store(StatusCode::OK);
    response.insert_header((header::SET_COOKIE, cookies::set_session(&begun.text, begun.lasts_s)));
    response.insert_header((header::VARY, HeaderValue::from_static("Cookie, Authorization")));
    Ok(response.json(Me::of_session(app, begun)))
}

/// What somebody is told who was not signed in.
pub(super) fn problem(refused: Refused, wrong: &str) -> Problem {
    match refused {
        Refused::Wrong => Problem::unauthorized(wrong, "Session realm=\"facility-summary\""),
        Refused::Denied => Problem::forbidden(
            "Your access is denied here, although the provider has signed you in. An administrator \
             of this service can allow it again.",
        ),
        Refused::TooFast(seconds) => Problem::too_many_requests(
            "There were too many failures from this address; wait before the next try.",
            seconds,
        ),
        Refused::Busy => {
            Problem::unavailable("Too many people sign in at the moment; try again shortly.", 2)
        }
        Refused::Store(error) => Problem::from(error),
    }
}
