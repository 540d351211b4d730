vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "{port}";
}

# The discard port: nobody listens, and the probe finds out.
backend dead {
    .host = "127.0.0.1";
    .port = "9";
    .probe = { .url = "/"; .interval = 1s; .initial = 0; }
}

sub vcl_recv {
    if (req.url == "/open") {
        set req.backend_hint = dead;
        return (pass);
    }
    if (req.url == "/plain") {
        return (pass);
    }
}
