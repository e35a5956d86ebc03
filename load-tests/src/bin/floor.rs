//! The floor: what actix-web alone costs for an answer of a daily summary's shape, or of as many
//! bytes as a list has. Constant bodies, no work.
//!
//! `floor PORT [WORKERS]`

use std::sync::LazyLock;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, get, web};

/// Smaller than most summaries, which list their blood types. So the comparison is strict for the
/// service.
static BODY: &[u8] = b"{\
    \"facility_id\":\"00000001-0000-4000-8000-000000000001\",\"date\":\"2026-01-31\",\
    \"total_stock\":1234,\"total_transferred\":56,\"total_requests\":78,\
    \"updated_at\":\"2026-01-31T10:00:00.000Z\",\"version\":42}";

#[get("/v1/facilities/{facility_id}/summaries/{date}")]
async fn summary(_path: web::Path<(String, String)>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("content-type", "application/json"))
        .insert_header(("etag", "\"2026-01-31.42.0123abcd\""))
        .insert_header(("cache-control", "private, max-age=300"))
        .body(web::Bytes::from_static(BODY))
}

/// What the bodies for the comparison with lists are parts of.
static FILL: LazyLock<web::Bytes> = LazyLock::new(|| web::Bytes::from(vec![b'x'; 32 << 20]));

/// A body of any size up to 32 MiB, for the comparison with lists; 304 to whoever has it.
#[get("/bytes/{count}")]
async fn bytes(request: HttpRequest, count: web::Path<usize>) -> HttpResponse {
    const TAG: &str = "\"0123456789abcdef\"";
    if request.headers().get("if-none-match").is_some_and(|tag| tag == TAG) {
        return HttpResponse::NotModified().insert_header(("etag", TAG)).finish();
    }
    HttpResponse::Ok()
        .insert_header(("content-type", "application/json"))
        .insert_header(("etag", TAG))
        .insert_header(("cache-control", "private, max-age=300"))
        .body(FILL.slice(..(*count).min(FILL.len())))
}

/// The body of this number among bodies of one size, which are in memory one after the other: the
/// processor's caches cannot hold as many of them as of one. The numbers come again where they do
/// not all fit into 32 MiB.
#[get("/bodies/{count}/{number}")]
async fn bodies(path: web::Path<(usize, usize)>) -> HttpResponse {
    let count = path.0.clamp(1, FILL.len());
    let from = path.1 % (FILL.len() / count) * count;
    HttpResponse::Ok()
        .insert_header(("content-type", "application/json"))
        .insert_header(("etag", "\"0123456789abcdef\""))
        .insert_header(("cache-control", "private, max-age=300"))
        .body(FILL.slice(from..from + count))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|argument| argument.parse().expect("floor PORT [WORKERS], both numbers"));
    let port: u16 = numbers.next().expect("floor PORT [WORKERS]");
    let workers = numbers.next().map_or(2, usize::from);
    HttpServer::new(|| App::new().service(summary).service(bytes).service(bodies))
        .workers(workers)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
