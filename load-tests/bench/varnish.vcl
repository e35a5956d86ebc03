# varnish in front of the floor; every request is a hit. reads.sh fills in {floor}.
vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "{floor}"; }
sub vcl_backend_response {
    set beresp.ttl = 1h;
    unset beresp.http.cache-control;
}
