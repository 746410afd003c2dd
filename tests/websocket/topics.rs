//! A hub over WebSockets.

use tokio_tungstenite::tungstenite::Message;
use tornadose::{Control, Event, EventSource, Hub, Permit, Policy, Topic, Topics};

use crate::client::Client;

fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

fn submit(hub: &Hub, name: &str, data: &str) -> String {
    let event = Event::new(data).topic(topic(name));
    hub.submit(event)
        .expect("taken")
        .id()
        .expect("in memory")
        .to_string()
}

#[tokio::test]
async fn a_message_tells_its_topic_and_topics_can_be_asked_for() {
    let hub = Hub::builder()
        .policy("price/#".parse().expect("a pattern"), Policy::latest())
        .build();
    submit(&hub, "price/oil", "80");
    let events = EventSource::new(hub.clone()).permit(|_| {
        let permit = Permit::new().topics(topic("a"));
        Ok(permit.control(&Control::new()))
    });
    // Whoever asks for a price may have it, and for nothing else.
    let socket = events.websocket().on_message(|received| {
        let asked = received.text().and_then(|text| Topic::new(text).ok());
        let control = received.control().expect("permitted with one");
        match asked {
            Some(topic) if topic.as_str().starts_with("price/") => {
                control.add(Topics::from(topic));
            }
            _ => received.reply("{}"),
        }
    });
    let mut client = Client::in_memory(&socket).await;
    let begin = hub.latest().expect("an event");
    assert_eq!(
        client.text().await,
        format!(r#"{{"id":"{begin}","event":"open"}}"#)
    );
    let id = submit(&hub, "a", "1");
    assert_eq!(
        client.text().await,
        format!(r#"{{"id":"{id}","prev":"{begin}","topic":"a","event":"message","data":"1"}}"#)
    );

    client.say("secret").await;
    assert_eq!(client.text().await, "{}");
    client.say("price/oil").await;
    // Its place in the order is past, so it has none.
    assert_eq!(
        client.text().await,
        r#"{"topic":"price/oil","event":"message","data":"80"}"#
    );
    submit(&hub, "secret", "x");
    let next = submit(&hub, "price/oil", "81");
    assert_eq!(
        client.text().await,
        format!(
            r#"{{"id":"{next}","prev":"{id}","topic":"price/oil","event":"message","data":"81"}}"#
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_quiet_client_is_told_where_it_is_with_each_ping() {
    let hub = Hub::new();
    let events = EventSource::new(hub.clone()).permit(|_| Ok(Permit::new().topics(topic("quiet"))));
    let mut client = Client::in_memory(&events.websocket()).await;
    client.text().await;
    let mut last = String::new();
    for n in 0..10 {
        last = submit(&hub, "busy", &n.to_string());
    }
    let told = loop {
        match client.next().await {
            Message::Ping(_) => {}
            Message::Text(text) => break text.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told, format!(r#"{{"id":"{last}"}}"#));
}
