# varnish before the floor, all hits. {floor} is filled in by reads.sh.
vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "{floor}"; }
sub vcl_backend_response {
    set beresp.ttl = 1h;
    unset beresp.http.cache-control;
}
