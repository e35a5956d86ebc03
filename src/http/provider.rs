//! Sign-in at an identity provider: the way there, the way back, and the provider's own sign-outs.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::{self, Data},
};
use reqwest::Url;
use serde::Deserialize;

use super::{
    content_type,
    cookies::{self, Sent},
    entrance::client_address,
    problem::Problem,
    query,
    sign_in::{self, OFF, origin},
    state::AppState,
};
use crate::access::{
    audit::Actor,
    open_id::{Answer, Fault},
};

/// What the way to a provider is asked with.
#[derive(Deserialize, Default)]
struct Asked {
    issuer: Option<String>,
    return_to: Option<String>,
}

/// Sends a browser to the provider, to sign in there.
#[utoipa::path(
    get, path = "/v1/auth/sign-in", tag = "access", operation_id = "sign_in",
    params(
        (
            "issuer" = Option<String>, Query,
            description = "The provider, as in the settings; it may be missing where there is one"
        ),
        (
            "return_to" = Option<String>, Query,
            description = "A path of this service, for the way back; `/` where it is missing"
        )
    ),
    responses(
        (status = 302, description = "To the provider"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn begin(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let asked: Asked = query::parse(request.query_string(), &["issuer", "return_to"])?;
    let people = app.people.clone().ok_or_else(|| Problem::not_found(OFF))?;
    let return_to = asked.return_to.unwrap_or_else(|| "/".to_owned());
    let begun = app
        .detached(async move { people.open_id.begin(asked.issuer.as_deref(), &return_to).await });
    let begun = begun.await.map_err(problem)?;
    let mut response = redirect(&begun.location)?;
    response.insert_header((header::SET_COOKIE, cookies::set_sign_in(&begun.cookie)));
    Ok(response.finish())
}

/// Where the provider sends a browser back: begins a session, and goes on to where it came from.
/// Parameters that are not known here are passed over, as RFC 6749 says.
#[utoipa::path(
    get, path = "/v1/auth/callback", tag = "access", operation_id = "sign_in_callback",
    params(
        ("code" = Option<String>, Query),
        ("state" = Option<String>, Query),
        ("iss" = Option<String>, Query, description = "The provider (RFC 9207)"),
        ("error" = Option<String>, Query)
    ),
    responses(
        (status = 302, description = "Signed in; to the path that the sign-in began with"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn callback(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let people = app.people.clone().ok_or_else(|| Problem::not_found(OFF))?;
    let answer = answer(request.query_string())?;
    let kept = match cookies::sent(request.headers(), cookies::SIGN_IN) {
        Sent::One(kept) => Some(kept.to_owned()),
        Sent::Nothing | Sent::Several => None,
    };
    let (now_ms, origin) = (app.clock.now_ms(), origin(&request));
    let finishing = async move {
        let finished = people.open_id.finish(kept.as_deref(), &answer, now_ms).await;
        let (named, return_to) = finished.map_err(|fault| {
            people.sign_in.note_fault(&fault, &origin);
            problem(fault)
        })?;
        let begun = people.sign_in.by_provider(named, &origin).await;
        let wrong = "The provider's session has ended already; sign in anew.";
        begun.map(|begun| (begun, return_to)).map_err(|refused| sign_in::problem(refused, wrong))
    };
    let (begun, return_to) = app.detached(finishing).await?;
    let mut response = redirect(&return_to)?;
    let session = cookies::set_session(&begun.text, begun.lasts_s);
    response.append_header((header::SET_COOKIE, session));
    response.append_header((header::SET_COOKIE, cookies::end_sign_in()));
    Ok(response.finish())
}

/// A provider's sign-out (OpenID Connect Back-Channel Logout 1.0): ends the sessions that its token
/// names.
#[utoipa::path(
    post, path = "/v1/auth/backchannel-logout", tag = "access",
    operation_id = "backchannel_logout",
    request_body(
        content = String, content_type = "application/x-www-form-urlencoded",
        description = "`logout_token`, signed by the provider"
    ),
    responses(
        (status = 200, description = "No session that the token names goes on"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn logout(
    request: HttpRequest,
    app: Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let people = sign_in::people(&request, &app)?;
    const FORM: &str = "application/x-www-form-urlencoded";
    let essence = content_type(&request).and_then(|sent| sent.split(';').next());
    if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(FORM)) {
        return Err(Problem::unsupported_media_type(format!("The content type must be {FORM}.")));
    }
    let body = super::events::body(&request, payload, &app).await?;
    let body = std::str::from_utf8(&body).unwrap_or_default();
    let token = one(body, "logout_token")?
        .ok_or_else(|| Problem::bad_request("The form must have logout_token."))?;
    let (now_ms, address) = (app.clock.now_ms(), client_address(&request));
    let ending = async move {
        let (issuer, logout) =
            people.open_id.logout(&token, now_ms).await.map_err(|fault| match fault {
                Fault::Away(_) => problem(fault),
                fault => Problem::bad_request(format!("The logout token is refused: {fault}.")),
            })?;
        let by = Actor {
            id: format!("provider {issuer}"),
            address: address.map(|address| address.to_string()),
        };
        people.sign_in.end_by_provider(&issuer, logout, by).await.map_err(Problem::from)
    };
    app.detached(ending).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).finish())
}

/// What the provider's answer says; each parameter at most once.
fn answer(query: &str) -> Result<Answer, Problem> {
    Ok(Answer {
        code: one(query, "code")?,
        state: one(query, "state")?,
        iss: one(query, "iss")?,
        error: one(query, "error")?,
    })
}

/// The value of a name in a query or form. 400 where there are several.
fn one(form: &str, name: &str) -> Result<Option<String>, Problem> {
    let url = Url::parse(&format!("http://form/?{}", form.replace('#', "%23")))
        .map_err(|_| Problem::bad_request("This cannot be read."))?;
    let mut values = url.query_pairs().filter(|(found, _)| found == name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|(_, value)| value.into_owned())),
        _ => Err(Problem::bad_request(format!("{name} must not be there twice."))),
    }
}

fn redirect(location: &str) -> Result<HttpResponseBuilder, Problem> {
    let location = HeaderValue::from_str(location).map_err(|_| Problem::internal())?;
    let mut response = HttpResponse::build(StatusCode::FOUND);
    response.insert_header((header::LOCATION, location));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response)
}

/// What somebody is told who was not signed in by a provider.
fn problem(fault: Fault) -> Problem {
    let text = format!("{fault}.");
    match fault {
        Fault::NoProvider(_) => Problem::not_found(text),
        Fault::ReturnTo(_) => Problem::bad_request(text),
        Fault::NotBegun(_) => Problem::bad_request(format!("{text} Begin the sign-in anew.")),
        Fault::Denied(_) => Problem::forbidden(text),
        Fault::Token(refusal) => Problem::forbidden(format!(
            "The provider signed you in, but its token does not count here: {refusal}."
        )),
        Fault::Away(why) => {
            tracing::warn!(%why, "the provider cannot be asked");
            Problem::unavailable("The provider cannot be asked now; try again shortly.", 2)
        }
    }
}
