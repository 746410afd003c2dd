# Varnish in front of an application at 127.0.0.1:9000 that has event streams at /events and
# WebSockets at /socket.

vcl 4.1;

backend app {
    .host = "127.0.0.1";
    .port = "9000";
    .connect_timeout = 5s;
    .first_byte_timeout = 60s;
    # Four keep-alives. Who is silent for longer is dead. For WebSockets the parameter
    # `pipe_timeout` is the same, which is 60 s if nobody says otherwise.
    .between_bytes_timeout = 60s;
}

sub vcl_recv {
    # Varnish adds to what the client says.
    set req.http.X-Forwarded-For = client.ip;

    if (req.http.Upgrade ~ "(?i)^websocket$") {
        return (pipe);
    }
    # Never of the cache, and never two clients on one stream.
    if (req.url ~ "^/events(\?|$)") {
        return (pass);
    }
}

sub vcl_pipe {
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = req.http.Connection;
    }
}

sub vcl_backend_response {
    if (beresp.http.Content-Type ~ "^text/event-stream") {
        # Each event at once.
        set beresp.do_stream = true;
        set beresp.do_gzip = false;
        set beresp.uncacheable = true;
        return (deliver);
    }
}

sub vcl_backend_error {
    # To a browser whatever is not 200 is the end: it does not ask again. So while the
    # application is away there is a stream that ends at once.
    if (bereq.url ~ "^/events(\?|$)") {
        set beresp.status = 200;
        set beresp.http.Content-Type = "text/event-stream";
        set beresp.http.Cache-Control = "no-store";
        synthetic({"retry: 3000

"});
        return (deliver);
    }
}
