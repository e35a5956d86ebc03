//! The listeners: the one for everybody, with TLS where it is set, and the one for those who watch
//! the service. Each is an HTTP server of its own.

use std::{
    any::Any,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_http::HttpService;
use actix_service::{IntoServiceFactory, map_config};
use actix_web::{
    App as WebApp, HttpServer,
    dev::{AppConfig, Extensions, Server, ServerHandle},
    middleware::Condition,
    web,
};

use super::{
    StartError,
    connections::Connections,
    first_request::{self, FirstLook},
};
use crate::{
    config::ServerSettings,
    http::{self, cross_site::Bound, edge, edge::Edge, live::takeover::upgrades, state::AppState},
};

/// The bound sockets of a service.
pub struct Listeners {
    public: TcpListener,
    internal: Option<TcpListener>,
}

impl Listeners {
    /// Binds them.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub fn bind(settings: &ServerSettings) -> Result<Self, StartError> {
        let bind = |key: &'static str, address: &str| {
            TcpListener::bind(address).map_err(|source| StartError::Bind {
                key,
                address: address.to_owned(),
                source,
            })
        };
        Ok(Listeners {
            public: bind("server.bind, or BIND_ADDR", &settings.bind)?,
            internal: settings
                .internal_bind
                .as_deref()
                .map(|address| bind("server.internal_bind", address))
                .transpose()?,
        })
    }

    /// The address of the one for everybody.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Starts to serve, and says so in the log.
    pub fn serve(self, app: &web::Data<AppState>) -> Result<Serving, StartError> {
        let settings = app.settings.server.clone();
        let address = self.address()?;
        let public = public(self.public, app)?;
        let internal_address = self.internal.as_ref().map(TcpListener::local_addr).transpose()?;
        let internal = self.internal.map(|listener| internal(listener, app)).transpose()?;
        let handles = std::iter::once(&public).chain(&internal).map(Server::handle).collect();
        let servers = futures_util::future::try_join_all(std::iter::once(public).chain(internal));
        let task = tokio::spawn(async move { servers.await.map(|_| ()) });
        tracing::info!(
            %address,
            internal_address = internal_address.map(tracing::field::display),
            tls = settings.tls().is_some(),
            version = env!("CARGO_PKG_VERSION"),
            database = app.store.dialect(),
            "listening"
        );
        Ok(Serving { handles, task })
    }
}

/// Servers that run.
pub struct Serving {
    handles: Vec<ServerHandle>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Serving {
    /// Takes no more connections, and waits until the requests under way have ended.
    pub async fn stop(self) -> std::io::Result<()> {
        futures_util::future::join_all(self.handles.iter().map(|handle| handle.stop(true))).await;
        self.task.await.map_err(std::io::Error::other)?
    }
}

/// Puts the service of a connection together, as `HttpServer` does, and has it give up the sockets
/// of requests that ask for an upgrade. The type of a connection has no name in common.
macro_rules! connection_service {
    ($serves:ident, $settings:ident, $signal:ident, $connections:ident) => {{
        let (shutdown, connections) = ($signal.clone(), $connections.clone());
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let shutdown = shutdown.clone();
                async move { shutdown.notified().await }
            })
            .client_request_timeout(Duration::from_millis($settings.read_timeout_ms))
            .client_disconnect_timeout(Duration::from_secs(1))
            .on_connect_ext(move |connection, data| connections.begin(connection, data))
            .upgrade(upgrades($serves()))
            .finish($serves())
    }};
}

/// The server for everybody.
fn public(listener: TcpListener, app: &web::Data<AppState>) -> Result<Server, StartError> {
    let settings = app.settings.server.clone();
    let bound = Bound(listener.local_addr()?);
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        workers => workers,
    };
    let (shared, has_cors) = (app.clone(), settings.cors_origins.is_some());
    let connections = Connections::new(&settings, &app.metrics)?;
    let serves = move || {
        let routed = shared.clone();
        let app = WebApp::new()
            .app_data(shared.clone())
            .app_data(bound)
            .wrap(Condition::new(has_cors, edge::cors(&shared.settings.server)))
            .configure(move |config| http::routes(config, &routed));
        map_config(app.into_factory(), |()| AppConfig::default())
    };
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(settings.max_connections)
        .backlog(4096)
        .shutdown_timeout(settings.shutdown_timeout_seconds)
        .disable_signals();
    let signal = server.graceful_shutdown_signal();
    let server = match &app.certificate {
        None => server.listen("public", listener, move || {
            let (stops, counts) = (signal.clone(), connections.clone());
            let first = FirstLook {
                begin: move |connection: &dyn Any, data: &mut Extensions| {
                    counts.begin(connection, data);
                },
                stops: move || {
                    let stops = stops.clone();
                    async move { stops.notified().await }
                },
                head: Duration::from_millis(settings.read_timeout_ms),
            };
            let http = connection_service!(serves, settings, signal, connections).tcp();
            first_request::look(http, upgrades(serves()), first)
        })?,
        Some(certificate) => {
            let config = certificate.server_config().map_err(std::io::Error::other)?;
            server.listen("public", listener, move || {
                connection_service!(serves, settings, signal, connections)
                    .rustls_0_23(config.clone())
            })?
        }
    };
    Ok(server.run())
}

/// The server for those who watch: one thread is enough.
fn internal(listener: TcpListener, app: &web::Data<AppState>) -> Result<Server, StartError> {
    let settings = &app.settings.server;
    let (shared, edge) = (app.clone(), Arc::new(Edge::internal(&app.settings)?));
    let server = HttpServer::new(move || {
        let (routed, edge) = (shared.clone(), edge.clone());
        WebApp::new()
            .app_data(shared.clone())
            .configure(move |config| http::internal_routes(config, &routed, &edge))
    })
    .workers(1)
    .client_request_timeout(Duration::from_millis(settings.read_timeout_ms))
    .client_disconnect_timeout(Duration::from_secs(1))
    .shutdown_timeout(settings.shutdown_timeout_seconds)
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}
