//! What a client of an event stream may rely on, asked of every server that
//! tornadose is mounted in.
//!
//! [`cases`] are what must hold, [`servers`] are what they are asked of, and a server
//! that cannot keep something says so in its [`Server`](servers::Server). Each case
//! starts its own server on a free port of the loopback and talks to it in bytes
//! ([`client`]), so that nothing between us and the wire can smooth anything over.
//!
//! ```sh
//! cargo test --manifest-path tests/servers/Cargo.toml --target-dir target/servers
//! ```
#![cfg(test)]

mod cases;
mod client;
mod fixture;
mod http2;
mod readme;
mod servers;
mod socket;
mod socket_cases;
mod tls;

macro_rules! suites {
    ($($server:ident)*) => {
        $(suite! { $server of cases:
            the_head_is_exact
            the_first_bytes_leave_before_any_event
            an_event_leaves_at_once
            ten_events_arrive_in_order_with_their_ids
            a_returning_client_gets_what_it_missed
            an_evicted_id_is_told_as_a_gap
            an_id_that_cannot_be_read_is_told_as_a_gap
            a_client_that_must_not_go_on_is_answered_204
            a_hook_sees_the_whole_head
            a_wrong_method_is_told_the_right_ones
            head_is_the_head_alone
            a_client_that_closes_is_noticed
            a_client_that_resets_is_noticed
            a_shutdown_ends_the_stream_cleanly
            the_server_can_stop_once_a_shutdown_has_begun
            a_client_of_http_1_0_reads_to_the_end
            twenty_streams_share_one_connection
        })*
    };
}

macro_rules! socket_suites {
    ($($server:ident)*) => {
        $(suite! { $server of socket_cases:
            it_is_told_at_once_where_it_begins
            events_leave_at_once_and_in_order
            a_large_event_arrives_whole
            a_returning_client_gets_what_it_missed
            an_evicted_id_is_told_as_a_gap
            what_a_client_sends_is_heard_and_answered
            who_may_not_is_refused_and_leaves_nothing_behind
            who_leaves_is_noticed
            who_does_not_answer_is_dropped
            a_shutdown_closes_it_and_the_server_can_stop
            a_closed_store_closes_it
        })*
    };
}

macro_rules! suite {
    ($server:ident of $cases:ident: $($case:ident)*) => {
        mod $server {
            $(#[test]
            fn $case() {
                crate::$cases::$case(&crate::servers::$server::SERVER);
            })*
        }
    };
}

mod on {
    suites! {
        actix axum axum_detached axum_handler axum_tls hyper hyper_detached hyper_tls poem rocket
        salvo tower warp
    }
}

/// Not poem, which keeps to itself what its connections could become.
mod over_websockets {
    socket_suites! {
        actix axum axum_detached axum_tls hyper hyper_detached hyper_tls rocket salvo tower warp
    }
}

/// The servers that offer WebSockets over HTTP/2.
mod over_http_2 {
    macro_rules! inside_http_2 {
        ($($server:ident)*) => {
            $(#[test]
            fn $server() {
                crate::socket_cases::it_also_works_inside_http_2(
                    &crate::servers::$server::SERVER,
                );
            })*
        };
    }
    inside_http_2! { axum axum_detached axum_tls hyper hyper_detached hyper_tls tower }
}

/// The servers whose own shutdown reaches the streams.
mod on_their_own {
    #[test]
    fn rocket() {
        crate::cases::the_servers_own_shutdown_ends_the_stream(&crate::servers::rocket::SERVER);
    }
}
